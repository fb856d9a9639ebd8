// Tile kernels: elementwise operations on short contiguous runs, compiled for several instruction
// sets and chosen at run time.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/kernels/copy_box.h"
#include "narrows/core/dtype.h"
#include "narrows/core/kernel_id.h"

namespace narrows::cpu {

// out[i] = op(in[0][i], in[1][i], ...) for n elements. An input may be `out` itself, but must not
// overlap it otherwise.
using TileKernel = void (*)(const void* const* in, void* out, int64_t n);

inline constexpr int kElementwiseOpCount = 0
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) +1
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
    ;

// Absent kernels are null. No operation has kernels for float16 and bfloat16: cast a tile to
// float32 and back.
struct TileKernels {
  TileKernel elementwise[kElementwiseOpCount][kDtypeCount];
  TileKernel cast[kDtypeCount][kDtypeCount];
  TileKernel select[4]; // by log2 of the element size; in: condition (bool), a, b
  CopyBox copy_box;
};

// The kernels of an instruction set, by its level: 2 up to cpu_isa_level().
const TileKernels& tile_kernels(int isa_level);

// Those of cpu_isa_level().
const TileKernels& tile_kernels();

} // namespace narrows::cpu
