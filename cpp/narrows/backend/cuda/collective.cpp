#include "narrows/backend/cuda/collective.h"

#include <cstring>
#include <memory>
#include <string>

#include "metal_kernels/collective.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/queue.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/process_group.h"

namespace narrows::cuda {
namespace {

class Queue final : public DeviceQueue {
 public:
  void* stream() override {
    return submit();
  }
  std::function<bool()> mark() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    const std::shared_ptr<void> held(
        event, [](void* e) { cudaEventDestroy(static_cast<cudaEvent_t>(e)); });
    check(cudaEventRecord(event, cuda::stream()), "event");
    // An error is no reason to wait, either.
    return [held] {
      return cudaEventQuery(static_cast<cudaEvent_t>(held.get())) != cudaErrorNotReady;
    };
  }
  void fail(const std::string& message) override {
    fail_from_now_on(message);
  }
};

void* pointer_to(const Place& place) {
  return reinterpret_cast<void*>(place.address);
}

} // namespace

void run_collective(const KernelCall& call, std::span<const Place> operands) {
  static auto* queue = new Queue; // groups may use it while static objects are destroyed
  CollectiveParams params;
  std::memcpy(&params, call.params.data(), sizeof(params));
  process_group(params.group)
      .encode(
          static_cast<CollectiveOp>(call.kernel.op),
          call.kernel.out,
          pointer_to(operands[0]),
          pointer_to(operands[1]),
          params,
          *queue);
}

} // namespace narrows::cuda
