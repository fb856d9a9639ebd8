// Fiber: a function with a stack of its own, which can stop in the middle and be resumed.
#pragma once

#include <cstddef>

#if !defined(__linux__) || !(defined(__x86_64__) || defined(__aarch64__))
#define NARROWS_FIBER_UCONTEXT 1
#include <ucontext.h>
#endif

namespace narrows::emulated {

class Fiber {
 public:
  // Makes the next resume() call function(argument) on this stack. The function must end with
  // finish(). A function that ran on the fiber before is dropped.
  void start(char* stack, size_t stack_bytes, void (*function)(void*), void* argument);

  // Runs the fiber until it suspends or finishes.
  void resume();

  // Called on the fiber. Returns to resume().
  void suspend();
  [[noreturn]] void finish();

 private:
  static void enter(void* fiber);
  void leave(bool for_good);

  void (*function_)(void*) = nullptr;
  void* argument_ = nullptr;
  char* stack_ = nullptr;
  size_t stack_bytes_ = 0;
#if NARROWS_FIBER_UCONTEXT
  ucontext_t context_;
  ucontext_t resumer_;
#else
  void* stack_pointer_ = nullptr;
  void* resumer_ = nullptr;
#endif
  // What AddressSanitizer knows of both stacks.
  void* fake_stack_ = nullptr;
  void* resumer_fake_stack_ = nullptr;
  const void* resumer_bottom_ = nullptr;
  size_t resumer_bytes_ = 0;
};

} // namespace narrows::emulated
