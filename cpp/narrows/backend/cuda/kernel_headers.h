// The headers of kernels, as text: what texts of kernels include when they are compiled at run
// time. CMake makes the list of the files in metal_kernels/.
#pragma once

#include <cstddef>

namespace narrows::cuda {

struct KernelHeader {
  const char* name;
  const char* text;
};
extern const KernelHeader kKernelHeaders[];
extern const size_t kKernelHeaderCount;

} // namespace narrows::cuda
