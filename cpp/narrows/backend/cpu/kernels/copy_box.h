// Copies elements between two strided layouts of the same small box.
#pragma once

#include <cstdint>

namespace narrows::cpu {

inline constexpr int kMaxBoxDims = 8;

// The extents of a box, and the strides (in elements) of two operands over it.
struct BoxCopy {
  int ndim = 0;
  int64_t extent[kMaxBoxDims];
  int64_t from_stride[kMaxBoxDims];
  int64_t to_stride[kMaxBoxDims];
};

// Copies elements of 1, 2, 4 or 8 bytes. The box should fit into a cache: it may be walked in
// any order.
using CopyBox = void (*)(const BoxCopy& box, int64_t item_size, const void* from, void* to);

} // namespace narrows::cpu
