#include "narrows/backend/cuda/backend.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "narrows/backend/cuda/dependencies.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/gemm.h"
#include "narrows/backend/cuda/memory.h"
#include "narrows/backend/cuda/queue.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"

namespace narrows::cuda {
namespace {

constexpr size_t kMostOperands = 8;

Place place_of(const Operand& operand) {
  return {
      reinterpret_cast<std::uintptr_t>(operand.buffer->memory) +
          static_cast<std::uintptr_t>(operand.offset),
      operand.buffer->memory};
}

// A moment on the device's clock, which is set by the host's when the first one is marked.
class CudaTimeMark final : public TimeMark {
 public:
  CudaTimeMark() : event_(record()) {
    origin();
  }
  ~CudaTimeMark() override {
    cudaEventDestroy(event_);
  }
  int64_t nanoseconds() override {
    wait_for(event_);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, origin().event, event_), "time");
    return origin().nanoseconds + static_cast<int64_t>(double{milliseconds} * 1e6);
  }

 private:
  struct Origin {
    cudaEvent_t event = record();
    int64_t nanoseconds = 0;

    Origin() {
      wait_for(event);
      nanoseconds =
          std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
    }
  };
  static const Origin& origin() {
    static const Origin instance;
    return instance;
  }
  static cudaEvent_t record() {
    cudaEvent_t event;
    check(cudaEventCreate(&event), "event");
    check(cudaEventRecord(event, submit()), "event");
    return event;
  }

  cudaEvent_t event_;
};

class CudaEncoder final : public Encoder {
 public:
  explicit CudaEncoder(CudaMemory& memory) : memory_(memory) {
  }

  void launch(
      const KernelId& kernel,
      std::span<const Operand> operands,
      std::span<const std::byte> params,
      Grid) override {
    std::array<Place, kMostOperands> places;
    std::array<std::uintptr_t, kMostOperands> addresses;
    for (size_t i = 0; i < operands.size(); ++i) {
      places[i] = place_of(operands[i]);
      addresses[i] = places[i].address;
    }
    const gpu::Work work = gpu::work_of(kernel, {addresses.data(), operands.size()}, params);
    if (!work.second) {
      cuda::launch(work.first, {places.data(), operands.size()});
      return;
    }
    // Free again as soon as both are encoded: whoever gets it waits for them.
    const BufferRef scratch = allocate(memory_, work.scratch_bytes, "scratch");
    const Place between = place_of({scratch.get(), 0});
    cuda::launch(work.first, std::array{places[0], between});
    cuda::launch(*work.second, std::array{between, places[1]});
  }
  void fill(Operand out, std::span<const std::byte> pattern, int64_t count) override {
    const Place to = place_of(out);
    cuda::launch(gpu::dispatch_of_fill(to.address, pattern, count), {&to, 1});
  }
  void copy(Operand from, Operand to, int64_t bytes) override {
    const gpu::CopyLaunch copy =
        gpu::copy_launch(place_of(from).address | place_of(to).address, bytes);
    launch(copy.kernel, std::array{from, to}, std::as_bytes(std::span(&copy.params, 1)), {});
  }
  void gemm(const GemmCall& call) override {
    gpu::for_each_product(
        call, [&](const gpu::GemmDispatch& share, std::span<const Operand> operands) {
          std::array<Place, 4> places;
          std::transform(operands.begin(), operands.end(), places.begin(), place_of);
          const std::optional<Product> product =
              product_of(call, share, {places[0].address, places[1].address, places[2].address});
          if (!product) {
            cuda::launch(share, {places.data(), operands.size()});
            return;
          }
          const size_t count = operands.size() + (call.workspace.buffer ? 1 : 0);
          places[3].block = product->workspace;
          cuda::launch(*product, {places.data(), count});
        });
  }
  void record(const EventRef& event) override {
    // A device that has failed calls nobody: who waits asks it.
    event->ask([](Event& self) {
      if (std::exception_ptr error = error_so_far()) {
        self.fail(std::move(error));
      }
    });
    const auto set = [](void* argument) {
      const std::unique_ptr<EventRef> recorded(static_cast<EventRef*>(argument));
      (*recorded)->set();
    };
    auto held = std::make_unique<EventRef>(event);
    try {
      check(cudaLaunchHostFunc(cuda::submit(), set, held.get()), "event");
      held.release();
    } catch (const std::runtime_error&) {
      event->fail(std::current_exception());
    }
  }
  void wait(const EventRef& event) override {
    event->wait();
  }
  void submit() override {
    cuda::submit();
  }
  void finish() override {
    cuda::finish();
  }
  std::unique_ptr<TimeMark> mark_time() override {
    return std::make_unique<CudaTimeMark>();
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
    return find_kernel(gpu::general_name(kernel)) != nullptr;
  }
  int64_t gemm_workspace(const GemmCall& call) const override {
    return cuda::gemm_workspace(call);
  }
  int concurrency() const override {
    return static_cast<int>(Dependencies::kMostLanes);
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
