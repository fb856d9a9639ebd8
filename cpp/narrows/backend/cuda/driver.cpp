#include "narrows/backend/cuda/driver.h"

#include "narrows/backend/cuda/device.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

constexpr unsigned kVersion = 12000;

template <typename F>
void find(F& function, const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  check(cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result), name);
  if (!found) {
    fail<std::runtime_error>("[cuda] the driver has no function ", name, ".");
  }
  function = reinterpret_cast<F>(found);
}

} // namespace

const Driver& driver() {
  static const Driver functions = [] {
    Driver result;
    find(result.load_module, "cuModuleLoadData");
    find(result.get_function, "cuModuleGetFunction");
    find(result.launch_kernel, "cuLaunchKernel");
    find(result.add_kernel_node, "cuGraphAddKernelNode");
    return result;
  }();
  return functions;
}

void check(CUresult status, std::string_view what) {
  if (status != CUDA_SUCCESS) {
    fail<std::runtime_error>(
        "[cuda] ", what, ": the driver failed with status ", static_cast<int>(status), ".");
  }
}

} // namespace narrows::cuda
