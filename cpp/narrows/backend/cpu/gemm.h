// Matrix products of the CPU backend: c = alpha * op(a) op(b) + beta * c.
#pragma once

#include <cstdint>

#include "narrows/core/dtype.h"

namespace narrows::cpu {

// op(a) is m by k, op(b) is k by n, c is m by n, all row-major. With transpose_a the memory of a
// is k by m, with transpose_b that of b is n by k. The leading dimensions are the distances between
// rows as they lie in memory, in elements: at least the length of such a row.
struct GemmShape {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  int64_t lda = 0;
  int64_t ldb = 0;
  int64_t ldc = 0;
  bool operator==(const GemmShape&) const = default;
};

// Dtypes: float16, bfloat16 (summed in float32), float32, float64, complex64. c must not overlap
// a or b, and is not read where beta is 0. The result depends on the shape and the number of
// threads, never on timing.

// The bytes of workspace (aligned to 64 bytes) that gemm needs for these arguments. They also
// suffice in a child after fork().
int64_t gemm_workspace(Dtype dtype, const GemmShape& shape, float alpha = 1, float beta = 0);

void gemm(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c,
    void* workspace);

// The same for `batch` products of one shape; product i starts at element a_offsets[i] of a, and
// likewise for b and c. Offsets of a and b may repeat, the outputs must not overlap.
int64_t gemm_batched_workspace(
    Dtype dtype, const GemmShape& shape, int64_t batch, float alpha = 1, float beta = 0);

void gemm_batched(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const int64_t* a_offsets,
    const void* b,
    const int64_t* b_offsets,
    float beta,
    void* c,
    const int64_t* c_offsets,
    int64_t batch,
    void* workspace);

} // namespace narrows::cpu
