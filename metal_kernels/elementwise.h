// Parameters of elementwise, select and cast.
#pragma once

#include "limits.h"

// out[i] = op(in0[i], ..., in{n-1}[i]). strides[k] belongs to input k, strides[inputs] to the
// output. A stride of 0 broadcasts.
struct ElementwiseParams {
  int64_t size;
  int32_t ndim;
  int32_t inputs;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t strides[NARROWS_MAX_OPERANDS][NARROWS_MAX_DIMS];
};

// The same, as the threads of a strided kernel share it. GPU backends make it. A thread takes a run
// of elements along dimension 0, in one row and in every row_step-th row behind it. Rows follow
// each other along dimension 1. The other dimensions are ordered from the fastest to the slowest.
struct StridedParams {
  uint32_t threads;
  int32_t ndim;       // at least 2
  int32_t tile_shift; // 1 << tile_shift neighbouring threads lie along dimension 1 first
  int32_t align_mask; // runs begin on multiples of align_mask + 1 elements of the output's memory
  int64_t shape[2];
  int64_t row_step;
  uint32_t pitches[NARROWS_MAX_DIMS];   // tiles of threads to the next index of a dimension
  int32_t phases[NARROWS_MAX_OPERANDS]; // by how many elements the first element lies behind a
                                        // multiple of 16 bytes
  int64_t begins[NARROWS_MAX_OPERANDS]; // the range of an operand's elements, relative to its first
                                        // one;
  int64_t ends[NARROWS_MAX_OPERANDS];   // no other memory is touched
  int64_t row_steps[NARROWS_MAX_OPERANDS];
  int64_t strides[NARROWS_MAX_OPERANDS][NARROWS_MAX_DIMS];
};
