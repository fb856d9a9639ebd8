// The headers of kernels, as text: what texts of kernels include when they are compiled at run
// time.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace narrows::gpu {

struct KernelHeader {
  const char* name; // without its directory
  const char* text;
};

// Those of metal_kernels/ that the backend's compiler needs. cmake/NarrowsKernelHeaders.cmake makes
// the list, a part of each backend that compiles texts.
extern const KernelHeader kKernelHeaders[];
extern const size_t kKernelHeaderCount;

// The text with these headers in the places where it, or one of them, includes them first. For
// compilers that find no files. Lines that include others stay.
std::string with_headers(const std::string& text, std::span<const KernelHeader> headers);

} // namespace narrows::gpu
