#include "narrows/backend/cuda/device.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <unordered_map>

#include "narrows/core/errors.h"
#include "narrows/runtime/event.h"
#include "narrows/runtime/fork.h"

namespace narrows::cuda {

void check(cudaError_t status, std::string_view what) {
  if (status != cudaSuccess) {
    cudaGetLastError(); // it is reported once
    fail<std::runtime_error>("[cuda] ", what, ": ", cudaGetErrorString(status), ".");
  }
}

namespace {

// The number of the process among those of its machine, as launchers tell it; 0 without a launcher.
int number_on_machine() {
  for (const char* variable :
       {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}) {
    if (const char* text = std::getenv(variable)) {
      return std::max(0, std::atoi(text));
    }
  }
  return 0;
}

} // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError(); // to have none is no error
    return 0;
  }
  return count;
}

int device_number() {
  static const int number = number_on_machine() % std::max(1, device_count());
  return number;
}

void use_device() {
  thread_local bool is_used = false;
  // The first device is each thread's to begin with.
  if (!is_used && device_number() != 0) {
    check(cudaSetDevice(device_number()), "device");
  }
  is_used = true;
}

bool is_usable_process() {
  static const int first_user = fork_generation();
  return fork_generation() == first_user;
}

void check_process() {
  if (!is_usable_process()) {
    fail<std::runtime_error>(
        "[cuda] the GPU cannot be used in a child process of one that has used it: CUDA does not "
        "survive fork().");
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

const metal_emu::KernelInfo* find_kernel(std::string_view name) {
  // The keys refer to the names in the registry.
  static const auto* kernels = [] {
    auto* all = new std::unordered_map<std::string_view, const metal_emu::KernelInfo*>;
    for (const auto& [key, kernel] : metal_emu::registry()) {
      all->emplace(key, &kernel);
    }
    return all;
  }();
  const auto found = kernels->find(name);
  return found == kernels->end() ? nullptr : found->second;
}

cudaError_t poll(cudaError_t (*query)(void*), void* argument) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kImpatient = std::chrono::milliseconds(5);
  constexpr auto kPause = std::chrono::microseconds(20);
  const Clock::time_point begin = Clock::now();
  cudaError_t status;
  while ((status = query(argument)) == cudaErrorNotReady) {
    if (Clock::now() - begin < kImpatient) {
      std::this_thread::yield(); // takes turns with other threads
    } else {
      check_interrupt();
      std::this_thread::sleep_for(kPause);
    }
  }
  return status;
}

} // namespace narrows::cuda
