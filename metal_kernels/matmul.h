// Parameters of matmul.
#pragma once

#include "limits.h"

// c = alpha * a @ b + beta * c for a batch of row-major matrices; a is (m, k) or, where transposed,
// stored as (k, m). Leading dimensions and batch strides count elements.
struct MatmulParams {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t lda;
  int64_t ldb;
  int64_t ldc;
  int32_t transpose_a;
  int32_t transpose_b;
  float alpha;
  float beta;
  int64_t batch_ndim;
  int64_t batch_shape[NARROWS_MAX_DIMS];
  int64_t batch_strides[3][NARROWS_MAX_DIMS]; // of a, b and c
};

// The products of one dispatch. GPU backends make it. Matrix i of the batch starts at i * stride.
struct MatmulTileParams {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t lda;
  int64_t ldb;
  int64_t ldc;
  int64_t a_stride;
  int64_t b_stride;
  int64_t c_stride;
  int32_t transpose_a;
  int32_t transpose_b;
  float alpha;
  float beta;
};
