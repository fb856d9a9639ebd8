// The inner loops of convolutions whose sums stay in registers, for the processor's instruction
// set.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

// out(i, j) = sums over k, the outer place, and l, the inner one, of
//   left[i * row + k * outer + l * inner] * right[k * outer + l * inner + j]
// added to what is there if `adds`. The last element of `right` and `out` is contiguous.
struct ConvolutionSums {
  const float* left;
  int64_t left_row;
  int64_t left_outer;
  int64_t left_inner;
  const float* right;
  int64_t right_outer;
  int64_t right_inner;
  int64_t outer;
  int64_t inner;
  float* out;
  int64_t out_row;
  int64_t rows;
  bool adds;
};

struct ConvolutionTile {
  int64_t lanes;
  // For `vectors` vectors of columns, 1 or 2.
  void (*sum)(const ConvolutionSums& sums, int vectors);
};

ConvolutionTile convolution_tile();

#define NARROWS_DECLARE_CONVOLUTION(isa) \
  namespace isa {                        \
  ConvolutionTile convolution_tile();    \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_CONVOLUTION)
#undef NARROWS_DECLARE_CONVOLUTION

} // namespace narrows::cpu
