#include "narrows/backend/emulated/backend.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "metal_kernels/collective.h"
#include "narrows/backend/emulated/engine.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/program.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/host_copies.h"
#include "narrows/runtime/process_group.h"

namespace narrows::emulated {
namespace {

constexpr size_t kAlignment = 256;

// Added to addresses that the host must not use: no process has memory there.
constexpr std::uintptr_t kElsewhere = std::uintptr_t{1} << 60;

class EmulatedMemory final : public MemorySource {
 public:
  explicit EmulatedMemory(bool separate) : separate_(separate) {
  }
  void* allocate(int64_t bytes) override {
    const size_t padded = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, padded);
    return separate_ && memory ? moved(memory, kElsewhere) : memory;
  }
  void release(void* memory, int64_t) override {
    std::free(on_host(memory));
  }
  bool host_visible() const override {
    return !separate_;
  }
  int64_t capacity() const override {
    return machine_memory();
  }
  void read(const void* from, void* to, int64_t bytes) override {
    std::memcpy(to, on_host(const_cast<void*>(from)), static_cast<size_t>(bytes));
  }
  void write(const void* from, void* to, int64_t bytes) override {
    std::memcpy(on_host(to), from, static_cast<size_t>(bytes));
  }

  void* on_host(void* memory) const {
    return separate_ ? moved(memory, ~kElsewhere + 1) : memory;
  }

 private:
  static void* moved(void* memory, std::uintptr_t by) {
    return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(memory) + by);
  }

  const bool separate_;
};

// The host's memory for copies of values. It has a limit, as page-locked memory has.
class EmulatedHostMemory final : public MemorySource {
 public:
  void* allocate(int64_t bytes) override {
    if (bytes_.fetch_add(bytes) + bytes > host_copy_limit()) {
      bytes_ -= bytes;
      return nullptr;
    }
    void* memory = std::malloc(static_cast<size_t>(bytes));
    bytes_ -= memory ? 0 : bytes;
    return memory;
  }
  void release(void* memory, int64_t bytes) override {
    std::free(memory);
    bytes_ -= bytes;
  }
  bool host_visible() const override {
    return true;
  }
  int64_t capacity() const override {
    return host_copy_limit();
  }

 private:
  std::atomic<int64_t> bytes_{0};
};

// What engines put behind the work has run when they return.
class EmulatedQueue final : public DeviceQueue {
 public:
  void* stream() override {
    return nullptr;
  }
  std::function<bool()> mark() override {
    return [] { return true; };
  }
  void fail(const std::string&) override {
  }
};

// Work runs at once, so the encoder has no state and serves all streams.
class EmulatedEncoder final : public Encoder {
 public:
  explicit EmulatedEncoder(EmulatedMemory& memory) : memory_(memory) {
  }
  void run(const KernelCall& call) override {
    if (is_on_device_queue(call.kernel)) {
      run_collective(call);
      return;
    }
    gpu::for_each_dispatch(
        call,
        [&](const Operand& operand) { return reinterpret_cast<std::uintptr_t>(address(operand)); },
        [&](const gpu::Dispatch& dispatch, std::span<const Operand> operands) {
          launch(dispatch, operands);
        });
  }
  void run_program(const ProgramCall& call) override {
    gpu::Dispatch dispatch;
    gpu::interpret(call, dispatch);
    std::array<Operand, kMostOperands> operands;
    launch(dispatch, gpu::operands_of(call, dispatch, operands));
  }
  void record(const EventRef& event) override {
    event->set();
  }
  void wait(const EventRef& event) override {
    event->wait();
  }

 private:
  std::byte* address(const Operand& operand) const {
    void* memory = operand.buffer->memory;
    if (memory_.host_visible() || operand.buffer->is_literal) {
      return static_cast<std::byte*>(memory) + operand.offset;
    }
    if (operand.buffer->bytes == 0) {
      return nullptr;
    }
    if (operand.buffer->source != &memory_) {
      fail<std::runtime_error>("[emulated gpu] an operand lies in the memory of another device");
    }
    return static_cast<std::byte*>(memory_.on_host(memory)) + operand.offset;
  }
  void run_collective(const KernelCall& call) {
    static EmulatedQueue queue;
    const auto& params = *reinterpret_cast<const CollectiveParams*>(call.params.data());
    process_group(params.group)
        .encode(
            static_cast<CollectiveOp>(call.kernel.op),
            call.kernel.out,
            address(call.operands[0]),
            address(call.operands[1]),
            params,
            queue);
  }
  Binding binding_of(const Operand& operand) const {
    return {address(operand), operand.buffer->bytes - operand.offset};
  }

  void launch(const gpu::Dispatch& dispatch, std::span<const Operand> operands) {
    const metal_emu::KernelInfo* kernel = find_kernel(dispatch.kernel);
    if (!kernel) {
      fail<std::runtime_error>("[emulated gpu] there is no kernel ", dispatch.kernel);
    }
    std::array<Binding, kMostOperands + 1> bindings;
    std::transform(operands.begin(), operands.end(), bindings.begin(), [&](const Operand& operand) {
      return binding_of(operand);
    });
    auto params =
        dispatch.params; // kernels get parameters by pointer, although they must not write them
    bindings[operands.size()] = {params.data(), static_cast<int64_t>(dispatch.params_size)};
    narrows::emulated::run(
        {kernel, {bindings.data(), operands.size() + 1}, dispatch.groups, dispatch.threads});
  }

  EmulatedMemory& memory_;
};

class EmulatedBackend : public Backend {
 public:
  explicit EmulatedBackend(bool separate) : memory_(separate), encoder_(memory_) {
  }
  MemorySource& memory() override {
    return memory_;
  }
  bool addresses(const MemorySource* source) const override {
    return memory_.host_visible() ? Backend::addresses(source) : source == &memory_;
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return is_on_device_queue(kernel) || gpu::has_kernel(kernel, [](const std::string& name) {
             return find_kernel(name) != nullptr;
           });
  }
  Scratch scratch(KernelFamily family) const override {
    return gpu::scratch_of(family);
  }
  const ProgramLimits& program_limits() const override {
    return gpu::kProgramLimits;
  }
  DeviceInfo info() const override {
    return {
        {"architecture", std::string("emulated")},
        {"device_name", std::string("emulated")},
        {"memory_size", machine_memory()}};
  }

 private:
  EmulatedMemory memory_;
  EmulatedEncoder encoder_;
};

// A device with memory of its own. Copies to the host and back run at once.
class SeparateBackend final : public EmulatedBackend, public HostCopies {
 public:
  SeparateBackend() : EmulatedBackend(true) {
  }
  MemorySource& host_memory() override {
    return host_memory_;
  }
  void copy_to_host(Operand from, Operand to, int64_t bytes) override {
    transfer(from, to, bytes);
  }
  void copy_from_host(Operand from, Operand to, int64_t bytes) override {
    transfer(from, to, bytes);
  }

 private:
  EmulatedHostMemory host_memory_;
};

} // namespace

Backend* emulated_backend() {
  static EmulatedBackend* backend = new EmulatedBackend(false);
  return backend;
}

Backend* separate_emulated_backend() {
  static SeparateBackend* backend = new SeparateBackend;
  return backend;
}

} // namespace narrows::emulated
