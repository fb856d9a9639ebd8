// Parameters of the kernels of quantized numbers.
//
// A row of numbers is cut into groups, which share a scale and, where the mode is affine, a bias.
// The codes of a row follow each other without gaps, each in `bits` bits, from the lowest bit of
// the first 32-bit word on. 32 codes, or the 16 of a group that is no longer, fill whole words.
#pragma once

#include "limits.h"

// How a number follows from its code. Files contain these values.
#define NARROWS_QUANTIZED_AFFINE 0 // scale * code + bias
#define NARROWS_QUANTIZED_MXFP4 1  // 4-bit floats, scales are powers of two
#define NARROWS_QUANTIZED_MXFP8 2  // 8-bit floats, scales are powers of two
#define NARROWS_QUANTIZED_NVFP4 3  // 4-bit floats, scales are 8-bit floats

// quantize and dequantize: all groups of a row-contiguous array.
struct QuantizeParams {
  int64_t groups;
  int64_t bits;
  int64_t group; // numbers of a group
  int64_t mode;
};

// c = a op(b) for `products` pairs of matrices. a is m x k, c is m x n. b has n rows of k numbers,
// which are quantized along the rows, or, without `transpose`, k rows of n numbers.
struct QuantizedMatmulParams {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t transpose;
  int64_t products;
  // Without index arrays there is one pair. With them, pair i is matrix lhs_indices[i] of
  // `lhs_count` and matrix rhs_indices[i] of `rhs_count`.
  int64_t indexed;
  int64_t lhs_count;
  int64_t rhs_count;
  int64_t bits;
  int64_t group;
  int64_t mode;
};

// The same for a few rows, with `transpose`. A simdgroup computes a block: some columns of some
// rows. Blocks of the same columns follow each other, then the columns, then the pairs.
struct QuantizedRowsParams {
  int32_t m;
  int32_t n;
  int32_t k;
  int32_t pairs;
  int32_t lhs_count; // 0: there are no index arrays, and one pair
  int32_t rhs_count;
  int32_t group_bits; // a group has 2^group_bits numbers
  int32_t row_blocks;
  int32_t column_blocks;
  int32_t blocks;    // of a threadgroup
  int32_t part_bits; // 2^part_bits simdgroups share the numbers of a block
};
