// Functions of the driver, for kernels that are compiled at run time.
#pragma once

#include <cuda.h>

#include <string_view>

namespace narrows::cuda {

struct Driver {
  decltype(&cuModuleLoadData) load_module;
  decltype(&cuModuleGetFunction) get_function;
  decltype(&cuLaunchKernel) launch_kernel;
  decltype(&cuGraphAddKernelNode) add_kernel_node;
};

// RuntimeError if the driver lacks one of them.
const Driver& driver();

// RuntimeError if a call failed. `what` says what was being done.
void check(CUresult status, std::string_view what);

} // namespace narrows::cuda
