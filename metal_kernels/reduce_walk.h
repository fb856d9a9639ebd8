// Where the elements of a reduction lie. Shared by reduce.metal and arg_reduce.metal.
#pragma once

#include "reduce.h"

METAL_FUNC int64_t kept_offset(constant ReduceParams& p, int64_t i) {
  if (p.out_size <= 0x7fffffff) {
    return offset_of(uint(i), p.kept_ndim, p.kept_shape, p.kept_strides);
  }
  return offset_of(uint64_t(i), p.kept_ndim, p.kept_shape, p.kept_strides);
}
METAL_FUNC int64_t reduced_offset(constant ReduceParams& p, int64_t r) {
  if (p.reduced_ndim <= 1) {
    return r * p.reduced_strides[0];
  }
  if (p.reduce_size <= 0x7fffffff) {
    return offset_of(uint(r), p.reduced_ndim, p.reduced_shape, p.reduced_strides);
  }
  return offset_of(uint64_t(r), p.reduced_ndim, p.reduced_shape, p.reduced_strides);
}

// Loads that a thread starts before it uses the first of them.
constant constexpr int kInFlight = 4;

// The number of elements in each piece of a result. The last pieces may have fewer.
METAL_FUNC int64_t piece_length(constant ReduceParams& p) {
  // A multiple of 16 elements, so that every piece is aligned like the first one.
  return ((p.reduce_size + p.pieces - 1) / p.pieces + 15) / 16 * 16;
}
