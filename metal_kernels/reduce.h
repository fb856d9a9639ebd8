// Parameters of reduce and arg_reduce.
#pragma once

#include "limits.h"

// out[i] = reduce over r of in[kept offset of i + reduced offset of r]; out is row-contiguous
// over the kept dimensions, in the order of their shape. arg_reduce numbers the elements of the
// reduced dimensions in row-major order.
struct ReduceParams {
  int64_t out_size;
  int64_t reduce_size;
  int32_t kept_ndim;
  int32_t reduced_ndim;
  int32_t aligned; // `in` starts on a multiple of 16 bytes; GPU backends set it
  int32_t pieces;  // threadgroups that share a result, each with a part of its elements
  int64_t kept_shape[NARROWS_MAX_DIMS];
  int64_t kept_strides[NARROWS_MAX_DIMS];
  int64_t reduced_shape[NARROWS_MAX_DIMS];
  int64_t reduced_strides[NARROWS_MAX_DIMS];
};
