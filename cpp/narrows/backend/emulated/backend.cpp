#include "narrows/backend/emulated/backend.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "narrows/backend/emulated/engine.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"

namespace narrows::emulated {
namespace {

constexpr size_t kMostOperands = 8;
constexpr size_t kAlignment = 256;

std::byte* address(const Operand& operand) {
  return static_cast<std::byte*>(operand.buffer->memory) + operand.offset;
}

Binding binding_of(const Operand& operand) {
  return {address(operand), operand.buffer->bytes - operand.offset};
}

class EmulatedMemory final : public MemorySource {
 public:
  void* allocate(int64_t bytes) override {
    const size_t padded = (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    return std::aligned_alloc(kAlignment, padded);
  }
  void release(void* memory, int64_t) override {
    std::free(memory);
  }
  bool host_visible() const override {
    return true;
  }
  int64_t capacity() const override {
    return machine_memory();
  }
};

// Runs everything at once, so it has no state and serves all streams.
class EmulatedEncoder final : public Encoder {
 public:
  void launch(
      const KernelId& kernel,
      std::span<const Operand> operands,
      std::span<const std::byte> params,
      Grid) override {
    std::array<std::uintptr_t, kMostOperands> addresses;
    for (size_t i = 0; i < operands.size(); ++i) {
      addresses[i] = reinterpret_cast<std::uintptr_t>(address(operands[i]));
    }
    const gpu::Work work = gpu::work_of(kernel, {addresses.data(), operands.size()}, params);
    if (!work.second) {
      dispatch(work.first, operands);
      return;
    }
    const auto memory = std::make_unique<std::byte[]>(static_cast<size_t>(work.scratch_bytes));
    Buffer buffer;
    buffer.memory = memory.get();
    buffer.bytes = work.scratch_bytes;
    const Operand scratch{&buffer, 0};
    dispatch(work.first, std::array{operands[0], scratch});
    dispatch(*work.second, std::array{scratch, operands[1]});
  }
  void fill(Operand out, std::span<const std::byte> pattern, int64_t count) override {
    const auto to = reinterpret_cast<std::uintptr_t>(address(out));
    dispatch(gpu::dispatch_of_fill(to, pattern, count), {&out, 1});
  }
  void copy(Operand from, Operand to, int64_t bytes) override {
    std::memmove(address(to), address(from), static_cast<size_t>(bytes));
  }
  void gemm(const GemmCall& call) override {
    const int64_t size = size_of(call.dtype);
    for (int64_t first = 0; first < call.batch;) {
      const gpu::GemmDispatch product = gpu::dispatch_of_gemm(call, first);
      std::array operands = {call.a, call.b, call.c};
      operands[0].offset += call.a_offsets[first] * size;
      operands[1].offset += call.b_offsets[first] * size;
      operands[2].offset += call.c_offsets[first] * size;
      dispatch(product, operands);
      first += product.count;
    }
  }
  void record(const EventRef& event) override {
    event->set();
  }
  void wait(const EventRef& event) override {
    event->wait();
  }

 private:
  static void dispatch(gpu::Dispatch dispatch, std::span<const Operand> operands) {
    if (dispatch.groups[0] == 0) {
      return;
    }
    const metal_emu::KernelInfo* kernel = find_kernel(dispatch.kernel);
    if (!kernel) {
      fail<std::runtime_error>("[emulated gpu] there is no kernel ", dispatch.kernel);
    }
    std::array<Binding, kMostOperands + 1> bindings;
    for (size_t i = 0; i < operands.size(); ++i) {
      bindings[i] = binding_of(operands[i]);
    }
    bindings[operands.size()] = {
        dispatch.params.data(), static_cast<int64_t>(dispatch.params_size)};
    run({kernel, {bindings.data(), operands.size() + 1}, dispatch.groups, dispatch.threads});
  }
};

class EmulatedBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return memory_;
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return find_kernel(gpu::general_name(kernel)) != nullptr;
  }
  int64_t gemm_workspace(const GemmCall&) const override {
    return 0;
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

} // namespace

Backend* emulated_backend() {
  static EmulatedBackend* backend = new EmulatedBackend;
  return backend;
}

} // namespace narrows::emulated
