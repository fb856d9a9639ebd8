// Parameters of the kernels, shared by kernels and host code: plain structs of fixed layout.
// Sizes and strides count elements. Dimensions are collapsed by the host and walked from the
// last (fastest) to the first.
#pragma once

#if !defined(__METAL_VERSION__)
#include <cstdint>
#endif

// The most dimensions a kernel walks; the host launches once per index of any further ones.
#define NARROWS_MAX_DIMS 8
// Inputs of an elementwise kernel and its output.
#define NARROWS_MAX_OPERANDS 4

// out[i] = op(in0[i], ..., in{n-1}[i]). strides[k] belongs to input k, strides[inputs] to the
// output. A stride of 0 broadcasts.
struct ElementwiseParams {
  int64_t size;
  int32_t ndim;
  int32_t inputs;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t strides[NARROWS_MAX_OPERANDS][NARROWS_MAX_DIMS];
};

// The same as the threads of a strided kernel share it; GPU backends make it. A thread takes a run
// of elements along dimension 0, in a row and every row_step-th one after it: rows follow each
// other along dimension 1. The further dimensions go from the fastest to the slowest.
struct StridedParams {
  uint32_t threads;
  int32_t ndim;       // at least 2
  int32_t tile_shift; // 1 << tile_shift neighbouring threads are neighbours along dimension 1 first
  int32_t align_mask; // runs begin on multiples of align_mask + 1 elements of the output's memory
  int64_t shape[2];
  int64_t row_step;
  uint32_t pitches[NARROWS_MAX_DIMS];   // tiles of threads to the next index of a dimension
  int32_t phases[NARROWS_MAX_OPERANDS]; // of the first element, in elements after 16 bytes
  int64_t begins[NARROWS_MAX_OPERANDS]; // what lies between an operand's outermost elements,
  int64_t ends[NARROWS_MAX_OPERANDS];   // from its first one: no other memory is touched
  int64_t row_steps[NARROWS_MAX_OPERANDS];
  int64_t strides[NARROWS_MAX_OPERANDS][NARROWS_MAX_DIMS];
};

// out[i] = reduce over r of in[kept offset of i + reduced offset of r]; out is row-contiguous
// over the kept dimensions, in the order of their shape. arg_reduce numbers the elements of the
// reduced dimensions in row-major order.
struct ReduceParams {
  int64_t out_size;
  int64_t reduce_size;
  int32_t kept_ndim;
  int32_t reduced_ndim;
  int32_t aligned; // in starts on a multiple of 16 bytes; GPU backends set it
  int32_t pieces;  // threadgroups that share a result, each with a part of its elements
  int64_t kept_shape[NARROWS_MAX_DIMS];
  int64_t kept_strides[NARROWS_MAX_DIMS];
  int64_t reduced_shape[NARROWS_MAX_DIMS];
  int64_t reduced_strides[NARROWS_MAX_DIMS];
};

// Along the middle of three row-contiguous dimensions (outer, length, inner).
struct ScanParams {
  int64_t outer;
  int64_t length;
  int64_t inner;
  int32_t reverse;   // from the last element to the first
  int32_t inclusive; // element i includes input i
};

// Rows of a row-contiguous matrix: softmax and logsumexp.
struct RowParams {
  int64_t rows;
  int64_t length;
};

// out[i] = start + i * step, in the output's type; start and step are doubles, or int64 where
// the output is an integer type.
struct ArangeParams {
  int64_t size;
#if defined(__METAL_VERSION__)
  uint64_t start; // doubles, which Metal lacks
  uint64_t step;
#else
  double start;
  double step;
#endif
  int64_t int_start;
  int64_t int_step;
  // start and step as sums of a float and a small one; GPU backends set them.
  float start_parts[2];
  float step_parts[2];
};

// keys is (n_keys, 2) uint32, out is (n_keys, bytes_per_key) bytes; threefry2x32-20 counters.
struct RandomBitsParams {
  int64_t keys;
  int64_t bytes_per_key;
};

// out[0 .. size) = the low bytes of value.
struct FillParams {
  int64_t size;
  uint64_t value;
};

// c = alpha * a @ b + beta * c, batched: matrix i starts at i * stride. Leading dimensions and
// strides count elements.
struct GemmParams {
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
