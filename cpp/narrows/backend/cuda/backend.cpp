#include "narrows/backend/cuda/backend.h"

#include <array>
#include <string>

#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/gemm.h"
#include "narrows/backend/cuda/memory.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"

namespace narrows::cuda {
namespace {

constexpr size_t kMostOperands = 8;

std::uintptr_t address(const Operand& operand) {
  return reinterpret_cast<std::uintptr_t>(operand.buffer->memory) +
         static_cast<std::uintptr_t>(operand.offset);
}

class CudaEncoder final : public Encoder {
 public:
  explicit CudaEncoder(CudaMemory& memory) : memory_(memory) {
  }

  void launch(
      const KernelId& kernel,
      std::span<const Operand> operands,
      std::span<const std::byte> params,
      Grid) override {
    std::array<std::uintptr_t, kMostOperands> addresses;
    for (size_t i = 0; i < operands.size(); ++i) {
      addresses[i] = address(operands[i]);
    }
    const gpu::Work work = gpu::work_of(kernel, {addresses.data(), operands.size()}, params);
    if (!work.second) {
      cuda::launch(work.first, {addresses.data(), operands.size()});
      return;
    }
    // Free again as soon as both are launched: whoever gets it comes later in the stream.
    const BufferRef scratch = allocate(memory_, work.scratch_bytes, "scratch");
    const std::uintptr_t between = address({scratch.get(), 0});
    cuda::launch(work.first, std::array{addresses[0], between});
    cuda::launch(*work.second, std::array{between, addresses[1]});
  }
  void fill(Operand out, std::span<const std::byte> pattern, int64_t count) override {
    const std::uintptr_t to = address(out);
    cuda::launch(gpu::dispatch_of_fill(to, pattern, count), {&to, 1});
  }
  void copy(Operand from, Operand to, int64_t bytes) override {
    check(
        cudaMemcpyAsync(
            reinterpret_cast<void*>(address(to)),
            reinterpret_cast<const void*>(address(from)),
            static_cast<size_t>(bytes),
            cudaMemcpyDeviceToDevice,
            cuda::stream()),
        "copy");
  }
  void gemm(const GemmCall& call) override {
    cuda::gemm(call);
  }
  void record(const EventRef& event) override {
    auto* held = new EventRef(event);
    const auto set = [](void* argument) {
      auto* recorded = static_cast<EventRef*>(argument);
      (*recorded)->set();
      delete recorded;
    };
    check(cudaLaunchHostFunc(cuda::stream(), set, held), "event");
  }
  void wait(const EventRef& event) override {
    event->wait();
  }
  void finish() override {
    cuda::finish();
  }

 private:
  CudaMemory& memory_;
};

class CudaBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return memory_;
  }
  bool addresses(const MemorySource* source) const override {
    return source == &memory_;
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return has_kernel(gpu::general_name(kernel));
  }
  int64_t gemm_workspace(const GemmCall& call) const override {
    return cuda::gemm_workspace(call);
  }
  std::string_view interface() const override {
    return "cuda";
  }
  bool is_preferred() const override {
    return true;
  }
  DeviceInfo info() const override {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, 0), "device_info");
    return {
        {"architecture", concat_message("sm_", properties.major, properties.minor)},
        {"device_name", std::string(properties.name)},
        {"memory_size", static_cast<int64_t>(properties.totalGlobalMem)},
        {"multiprocessors", static_cast<int64_t>(properties.multiProcessorCount)}};
  }

 private:
  CudaMemory memory_;
  CudaEncoder encoder_{memory_};
};

// The kernels are made for compute capability 8.0 and above.
bool has_usable_device() {
  int count = 0;
  int major = 0;
  const bool usable =
      cudaGetDeviceCount(&count) == cudaSuccess && count > 0 &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
      major >= 8;
  cudaGetLastError(); // none is no error
  return usable;
}

} // namespace
} // namespace narrows::cuda

narrows::Backend* narrows_cuda_backend() {
  using namespace narrows::cuda;
  static narrows::Backend* backend = has_usable_device() ? new CudaBackend : nullptr;
  return backend;
}
