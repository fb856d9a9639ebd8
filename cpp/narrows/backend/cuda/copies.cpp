#include "narrows/backend/cuda/copies.h"

#include "narrows/backend/cuda/device.h"
#include "narrows/runtime/host_copies.h"

namespace narrows::cuda {
namespace {

OwnedEvent record_on(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  OwnedEvent owned(event);
  check(cudaEventRecord(event, stream), "event");
  return owned;
}

} // namespace

cudaStream_t CopyStream::stream() {
  static const cudaStream_t created = [] {
    cudaStream_t result;
    check(cudaStreamCreateWithFlags(&result, cudaStreamNonBlocking), "stream");
    return result;
  }();
  return created;
}

void CopyStream::start(const void* block, void* to, const void* from, int64_t bytes, bool to_host) {
  const OwnedEvent before = record_on(cuda::stream());
  check(cudaStreamWaitEvent(stream(), before.get(), 0), "copy");
  check(
      cudaMemcpyAsync(
          to,
          from,
          static_cast<size_t>(bytes),
          to_host ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice,
          stream()),
      "copy");
  // The copies of a block run one after the other, so the end of the latest is that of all.
  InFlight& copies = in_flight_[block];
  copies.end = record_on(stream());
  copies.is_written |= !to_host;
  latest_ = block;
}

bool CopyStream::concerns(const void* block, bool is_written) const {
  const auto found = in_flight_.find(block);
  return found != in_flight_.end() && (is_written || found->second.is_written);
}

void CopyStream::wait_for(const void* block) {
  const auto found = in_flight_.find(block);
  if (block == latest_) {
    wait_for_all();
  } else if (found != in_flight_.end()) {
    check(cudaStreamWaitEvent(cuda::stream(), found->second.end.get(), 0), "copy");
    in_flight_.erase(found);
  }
}

void CopyStream::wait_for_all() {
  const auto last = in_flight_.find(latest_);
  if (last != in_flight_.end()) {
    check(cudaStreamWaitEvent(cuda::stream(), last->second.end.get(), 0), "copy");
  }
  in_flight_.clear();
  latest_ = nullptr;
}

void* PageLockedMemory::allocate(int64_t bytes) {
  check_process();
  use_device();
  std::lock_guard lock(mutex_);
  void* memory = nullptr;
  if (bytes_ + bytes > host_copy_limit()) {
    return nullptr;
  }
  if (cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocDefault) != cudaSuccess) {
    cudaGetLastError(); // it is not an error yet
    return nullptr;
  }
  bytes_ += bytes;
  return memory;
}

// Waits for copies, which may still use the memory.
void PageLockedMemory::release(void* memory, int64_t bytes) {
  if (!is_usable_process()) {
    return;
  }
  use_device();
  cudaStreamSynchronize(CopyStream::stream());
  cudaFreeHost(memory);
  std::lock_guard lock(mutex_);
  bytes_ -= bytes;
}

int64_t PageLockedMemory::capacity() const {
  return host_copy_limit();
}

} // namespace narrows::cuda
