#include "narrows/backend/emulated/fiber.h"

#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !NARROWS_FIBER_UCONTEXT
// Saves the registers that a call must preserve on the stack, stores the stack pointer, and
// restores both from the other stack.
extern "C" void narrows_fiber_switch(void** save, void* load);
// The first return address on a new stack: calls the function in a saved register.
extern "C" void narrows_fiber_start();
#if defined(__x86_64__)
asm(R"(
.text
.hidden narrows_fiber_switch
.globl narrows_fiber_switch
.type narrows_fiber_switch,@function
narrows_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size narrows_fiber_switch,.-narrows_fiber_switch
.hidden narrows_fiber_start
.globl narrows_fiber_start
.type narrows_fiber_start,@function
narrows_fiber_start:
  movq %r12, %rdi
  callq *%r13
  ud2
.size narrows_fiber_start,.-narrows_fiber_start
)");
#else
asm(R"(
.text
.hidden narrows_fiber_switch
.globl narrows_fiber_switch
.type narrows_fiber_switch,%function
narrows_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.hidden narrows_fiber_start
.globl narrows_fiber_start
.type narrows_fiber_start,%function
narrows_fiber_start:
  mov x0, x19
  blr x20
  brk #1
)");
#endif
#endif

namespace narrows::emulated {
namespace {

#if !NARROWS_FIBER_UCONTEXT
// A stack as narrows_fiber_switch() leaves it, which returns to narrows_fiber_start().
void* fresh_stack(char* top, void (*function)(void*), void* argument) {
  auto** end = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15});
#if defined(__x86_64__)
  void** saved = end - 9; // r15 r14 r13 r12 rbx rbp, the return address, two words of padding
  std::memset(saved, 0, 9 * sizeof(void*));
  saved[2] = reinterpret_cast<void*>(function);
  saved[3] = argument;
  saved[6] = reinterpret_cast<void*>(&narrows_fiber_start);
#else
  void** saved = end - 20; // x19 x20 ... x29 x30, d8 ... d15
  std::memset(saved, 0, 20 * sizeof(void*));
  saved[0] = argument;
  saved[1] = reinterpret_cast<void*>(function);
  saved[11] = reinterpret_cast<void*>(&narrows_fiber_start);
#endif
  return saved;
}
#else
void call_split(unsigned low, unsigned high, unsigned function_low, unsigned function_high) {
  const auto joined = [](unsigned a, unsigned b) {
    return static_cast<uintptr_t>(a) | static_cast<uintptr_t>(b) << 32;
  };
  const auto function = reinterpret_cast<void (*)(void*)>(joined(function_low, function_high));
  function(reinterpret_cast<void*>(joined(low, high)));
}
#endif

} // namespace

void Fiber::start(char* stack, size_t stack_bytes, void (*function)(void*), void* argument) {
  function_ = function;
  argument_ = argument;
  stack_ = stack;
  stack_bytes_ = stack_bytes;
  fake_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  // A dropped function has left the marks of its frames.
  ASAN_UNPOISON_MEMORY_REGION(stack, stack_bytes);
#endif
#if NARROWS_FIBER_UCONTEXT
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = stack_bytes;
  context_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  const auto entry = reinterpret_cast<uintptr_t>(&Fiber::enter);
  makecontext(
      &context_,
      reinterpret_cast<void (*)()>(&call_split),
      4,
      static_cast<unsigned>(self),
      static_cast<unsigned>(self >> 32),
      static_cast<unsigned>(entry),
      static_cast<unsigned>(entry >> 32));
#else
  stack_pointer_ = fresh_stack(stack + stack_bytes, &Fiber::enter, this);
#endif
}

void Fiber::enter(void* fiber) {
  auto* self = static_cast<Fiber*>(fiber);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self->resumer_bottom_, &self->resumer_bytes_);
#endif
  self->function_(self->argument_);
}

void Fiber::resume() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&resumer_fake_stack_, stack_, stack_bytes_);
#endif
#if NARROWS_FIBER_UCONTEXT
  swapcontext(&resumer_, &context_);
#else
  narrows_fiber_switch(&resumer_, stack_pointer_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(resumer_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(
      for_good ? nullptr : &fake_stack_, resumer_bottom_, resumer_bytes_);
#endif
#if NARROWS_FIBER_UCONTEXT
  swapcontext(&context_, &resumer_);
#else
  narrows_fiber_switch(&stack_pointer_, resumer_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &resumer_bottom_, &resumer_bytes_);
#endif
}

void Fiber::suspend() {
  leave(false);
}

void Fiber::finish() {
  leave(true);
  __builtin_trap();
}

} // namespace narrows::emulated
