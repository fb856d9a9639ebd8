#include "narrows/backend/cuda/device.h"

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <unordered_map>

#include "metal_kernels/compat/signature.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/event.h"

namespace narrows::cuda {
namespace {

using metal_emu::KernelInfo;

constexpr size_t kMostArguments = 10;

// By name. The keys are the names in the registry.
const KernelInfo* find_kernel(std::string_view name) {
  static const auto* kernels = [] {
    auto* all = new std::unordered_map<std::string_view, const KernelInfo*>;
    for (const auto& [key, kernel] : metal_emu::registry()) {
      all->emplace(key, &kernel);
    }
    return all;
  }();
  const auto found = kernels->find(name);
  return found == kernels->end() ? nullptr : found->second;
}

// The latest kernel, for errors of work that ran behind the host.
std::atomic<const KernelInfo*> latest_kernel{nullptr};

// Asks until the answer is no longer "not ready": in turns with other threads at first, then now
// and then.
template <typename Query>
void poll(Query query) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kImpatient = std::chrono::milliseconds(5);
  constexpr auto kPause = std::chrono::microseconds(20);
  const Clock::time_point begin = Clock::now();
  cudaError_t status;
  while ((status = query()) == cudaErrorNotReady) {
    if (Clock::now() - begin < kImpatient) {
      std::this_thread::yield();
    } else {
      check_interrupt();
      std::this_thread::sleep_for(kPause);
    }
  }
  if (status != cudaSuccess) {
    const KernelInfo* latest = latest_kernel;
    check(status, latest ? latest->name + " or work before it" : "wait");
  }
}

} // namespace

void check(cudaError_t status, std::string_view what) {
  if (status != cudaSuccess) {
    cudaGetLastError(); // it is reported once
    fail<std::runtime_error>(
        "[cuda] ",
        what,
        ": ",
        cudaGetErrorString(status),
        ". With CUDA_LAUNCH_BLOCKING=1 errors are raised by the operation that made them.");
  }
}

cudaStream_t stream() {
  static const cudaStream_t created = [] {
    cudaStream_t result;
    check(cudaStreamCreateWithFlags(&result, cudaStreamNonBlocking), "stream");
    return result;
  }();
  return created;
}

bool has_kernel(std::string_view name) {
  return find_kernel(name) != nullptr;
}

void launch(const gpu::Dispatch& dispatch, std::span<const std::uintptr_t> addresses) {
  if (dispatch.groups[0] == 0) {
    return;
  }
  const KernelInfo* kernel = find_kernel(dispatch.kernel);
  if (!kernel) {
    fail<std::runtime_error>("[cuda] there is no kernel ", dispatch.kernel);
  }
  if (kernel->parameters.size() != addresses.size() + 1) {
    fail<std::runtime_error>(
        "[cuda] ",
        dispatch.kernel,
        " has ",
        kernel->parameters.size(),
        " buffers, got ",
        addresses.size() + 1);
  }
  std::array<void*, kMostArguments> arguments;
  for (size_t i = 0; i < addresses.size(); ++i) {
    arguments[i] = const_cast<std::uintptr_t*>(&addresses[i]);
  }
  arguments[addresses.size()] = const_cast<std::byte*>(dispatch.params.data());
  latest_kernel = kernel;
  check(
      cudaLaunchKernel(
          kernel->entry,
          {dispatch.groups[0], dispatch.groups[1], dispatch.groups[2]},
          {dispatch.threads, 1, 1},
          arguments.data(),
          0,
          stream()),
      dispatch.kernel);
}

void finish() {
  poll([] { return cudaStreamQuery(stream()); });
}

void wait_for(cudaEvent_t event) {
  poll([event] { return cudaEventQuery(event); });
}

} // namespace narrows::cuda
