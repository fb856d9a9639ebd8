#include "narrows/backend/cuda/backend.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "narrows/backend/cuda/collective.h"
#include "narrows/backend/cuda/convolution.h"
#include "narrows/backend/cuda/copies.h"
#include "narrows/backend/cuda/dependencies.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/gemm.h"
#include "narrows/backend/cuda/literals.h"
#include "narrows/backend/cuda/memory.h"
#include "narrows/backend/cuda/program_kernels.h"
#include "narrows/backend/cuda/queue.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/program.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/host_copies.h"
#include "narrows/runtime/process_group.h"

namespace narrows::cuda {
namespace {

using HeldSlots = std::vector<std::shared_ptr<const Slot>>;

// Of memory that was allocated on the device.
Place place_on_device(const Operand& operand) {
  return {
      reinterpret_cast<std::uintptr_t>(operand.buffer->memory) +
          static_cast<std::uintptr_t>(operand.offset),
      operand.buffer->memory};
}

void* address_on_host(const Operand& operand) {
  return static_cast<std::byte*>(operand.buffer->memory) + operand.offset;
}

// Keeps the slots of literals that it returns.
Place place_of(const Operand& operand, HeldSlots& slots) {
  if (operand.buffer->is_literal) {
    slots.push_back(slot_of(*operand.buffer));
    return slots.back()->place;
  }
  return place_on_device(operand);
}

// A moment on the device's clock. That clock is set by the host's when the first moment is marked.
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
    check(cudaEventRecord(event, submit(true)), "event");
    return event;
  }

  cudaEvent_t event_;
};

class CudaEncoder final : public Encoder {
 public:
  void run(const KernelCall& call) override {
    use_device();
    HeldSlots slots;
    if (is_on_device_queue(call.kernel)) {
      const std::array places = {
          place_of(call.operands[0], slots), place_of(call.operands[1], slots)};
      run_collective(call, places);
      return;
    }
    if (call.kernel.family == KernelFamily::convolution && run_convolution(call, slots)) {
      return;
    }
    gpu::for_each_dispatch(
        call,
        [&](const Operand& operand) { return place_of(operand, slots).address; },
        [&](const gpu::Dispatch& dispatch, std::span<const Operand> operands) {
          std::array<Place, kMostOperands> places;
          std::transform(
              operands.begin(), operands.end(), places.begin(), [&](const Operand& operand) {
                return place_of(operand, slots);
              });
          const std::span<const Place> used(places.data(), operands.size());
          if (!dispatch.is_product || !run_product(call, dispatch, used.first<3>(), slots)) {
            cuda::launch(dispatch, used);
          }
        });
  }
  void run_program(const ProgramCall& call) override {
    check_process();
    HeldSlots slots;
    std::array<std::uintptr_t, kMostOperands> addresses{};
    for (size_t k = 0; k < call.operands.size(); ++k) {
      addresses[k] = call.operands[k].buffer ? place_of(call.operands[k], slots).address : 0;
    }
    static thread_local gpu::Dispatch dispatch;
    const void* kernel =
        program_kernels().dispatch(call, {addresses.data(), call.operands.size()}, dispatch);
    std::array<Operand, kMostOperands> operands;
    std::array<Place, kMostOperands> places;
    gpu::operands_of(call, dispatch, operands);
    for (size_t i = 0; i < dispatch.place_count; ++i) {
      places[i] = place_of(operands[i], slots);
    }
    const std::span<const Place> used(places.data(), dispatch.place_count);
    if (kernel) {
      cuda::launch(*static_cast<const CompiledKernel*>(kernel), dispatch, used);
    } else {
      cuda::launch(dispatch, used);
    }
  }
  void record(const EventRef& event) override {
    use_device();
    // A device that has failed calls nobody back, so threads that wait ask it.
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
    use_device();
    cuda::submit();
  }
  void finish() override {
    use_device();
    cuda::finish();
  }
  std::unique_ptr<TimeMark> mark_time() override {
    use_device();
    return std::make_unique<CudaTimeMark>();
  }

 private:
  using ThreePlaces = std::span<const Place, 3>;

  // These return whether the library can compute it.
  static bool run_convolution(const KernelCall& call, HeldSlots& slots) {
    const std::array<Place, 3> places = {
        place_of(call.operands[0], slots),
        place_of(call.operands[1], slots),
        place_of(call.operands[2], slots)};
    return launch(call, convolution_of(call, addresses_of(places)), places, slots);
  }
  static bool run_product(
      const KernelCall& call, const gpu::Dispatch& dispatch, ThreePlaces places, HeldSlots& slots) {
    return launch(call, product_of(call, dispatch, addresses_of(places)), places, slots);
  }
  static std::array<std::uintptr_t, 3> addresses_of(ThreePlaces places) {
    return {places[0].address, places[1].address, places[2].address};
  }
  static bool launch(
      const KernelCall& call,
      const std::optional<HeldLibraryCall>& found,
      ThreePlaces places,
      HeldSlots& slots) {
    if (!found) {
      return false;
    }
    std::array<Place, 4> used = {places[0], places[1], places[2]};
    if (found->workspace) {
      used[3] = place_of(call.scratch, slots);
    }
    cuda::launch(*found, {used.data(), found->workspace ? size_t{4} : size_t{3}});
    return true;
  }
};

class CudaBackend final : public Backend, public HostCopies {
 public:
  MemorySource& memory() override {
    return memory_;
  }
  bool addresses(const MemorySource* source) const override {
    return source == &memory_;
  }
  MemorySource& host_memory() override {
    return page_locked_;
  }
  void copy_to_host(Operand from, Operand to, int64_t bytes) override {
    use_device();
    cuda::copy(place_on_device(from), address_on_host(to), bytes, true);
  }
  void copy_from_host(Operand from, Operand to, int64_t bytes) override {
    use_device();
    cuda::copy(place_on_device(to), address_on_host(from), bytes, false);
  }
  Encoder& encoder(Stream) override {
    use_device();
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return is_on_device_queue(kernel) || gpu::has_kernel(kernel, [](const std::string& name) {
             return find_kernel(name) != nullptr;
           });
  }
  Scratch scratch(KernelFamily family) const override {
    switch (family) {
      case KernelFamily::matmul:
        return cuda::matmul_scratch;
      case KernelFamily::convolution:
        return cuda::convolution_scratch;
      default:
        return gpu::scratch_of(family);
    }
  }
  int concurrency() const override {
    return static_cast<int>(Dependencies::kMostLanes);
  }
  const ProgramLimits& program_limits() const override {
    return gpu::program_limits(program_kernels().has_compiler());
  }
  std::string_view interface() const override {
    return "cuda";
  }
  bool is_preferred() const override {
    return true;
  }
  DeviceInfo info() const override {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device_number()), "device_info");
    return {
        {"architecture", concat_message("sm_", properties.major, properties.minor)},
        {"device_name", std::string(properties.name)},
        {"memory_size", static_cast<int64_t>(properties.totalGlobalMem)},
        {"multiprocessors", static_cast<int64_t>(properties.multiProcessorCount)}};
  }

 private:
  CudaMemory memory_;
  PageLockedMemory page_locked_;
  CudaEncoder encoder_;
};

// The kernels are compiled for compute capability 8.0 and above.
bool has_usable_device() {
  int major = 0;
  const bool usable =
      device_count() > 0 &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_number()) ==
          cudaSuccess &&
      major >= 8;
  cudaGetLastError(); // to have none is no error
  return usable;
}

} // namespace
} // namespace narrows::cuda

narrows::Backend* narrows_cuda_backend() {
  using namespace narrows::cuda;
  static narrows::Backend* backend = has_usable_device() ? new CudaBackend : nullptr;
  return backend;
}
