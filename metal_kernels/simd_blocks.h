// Products of small matrices, computed by a simdgroup: on matrix units where the GPU has them.
//
// Matrices consist of blocks of 8 x 8 numbers. Each lane has two numbers of a block. In a left
// factor, and in sums, these are neighbours in a row: row block_row(lane), columns
// block_column(lane) and the next. So a lane turns its sums into numbers of a left factor. The
// place of number e of a right factor's block is right_row(lane, e), right_column(lane, e). Which
// lane has which numbers depends on the GPU.
//
// Products of floats may be shorter: then numbers have gone through short_factor() before.
#pragma once

template <typename T>
struct alignas(2 * sizeof(T)) Block {
  T of[2];
};

// The columns of a left factor, and rows of a right one, of one product.
template <typename T>
struct BlockDepth {
  enum : int { value = sizeof(T) == 2 ? 16 : 8 };
};

// 16 rows.
template <typename T>
struct LeftBlocks {
  Block<T> of[2][BlockDepth<T>::value / 8];
};
// 8 columns.
template <typename T>
struct RightBlocks {
  Block<T> of[BlockDepth<T>::value / 8];
};
// 16 rows and 8 columns.
struct SumBlocks {
  Block<float> of[2];
};

// Each defines the places, add_product<kShort>(sums, left, right), short_factor() and
// power_of_two().
#if defined(METAL_COMPAT_MSL_CHECK) || defined(__METAL_VERSION__)
#include "compat/msl_blocks.h"
#elif defined(__CUDACC__)
#include "compat/cuda_blocks.h"
#else
#include "compat/host_blocks.h"
#endif

METAL_FUNC SumBlocks zero_sums() {
  SumBlocks sums;
  sums.of[0] = Block<float>{{0.0f, 0.0f}};
  sums.of[1] = Block<float>{{0.0f, 0.0f}};
  return sums;
}

// A number of T as a factor of products.
template <typename T, bool kShort>
METAL_FUNC T factor_of(float x) {
  if constexpr (kShort && sizeof(T) == 4) {
    return short_factor(x);
  } else {
    return T(x);
  }
}

// Sums as the left factor of another product: `sums` has those of BlockDepth columns.
template <typename T, bool kShort>
METAL_FUNC LeftBlocks<T> left_of_sums(thread const SumBlocks* sums) {
  LeftBlocks<T> left;
  METAL_UNROLL
  for (int d = 0; d < BlockDepth<T>::value / 8; ++d) {
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        left.of[i][d].of[e] = factor_of<T, kShort>(sums[d].of[i].of[e]);
      }
    }
  }
  return left;
}

// Combines what the lanes of a row of blocks have.
template <typename Op>
METAL_FUNC float combine_block_row(float value) {
  value = Op::combine(value, lane_xor(value, kRowLanes0));
  return Op::combine(value, lane_xor(value, kRowLanes1));
}
