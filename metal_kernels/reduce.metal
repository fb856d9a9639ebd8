// Reductions.
#include "common.h"

#include "reduce_walk.h"
#include "sum_result.h"

// A threadgroup reduces one piece of a result.
template <typename T, typename R, typename Op>
kernel void reduce_rows(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ReduceParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = typename Op::Value;
  constexpr int N = ElementsPerThread<T, T>::value;
  THREADGROUP_ARRAY(Value, shared, [32]);
  const int64_t result = p.pieces == 1 ? int64_t(group) : int64_t(group / uint(p.pieces));
  const int64_t length = piece_length(p);
  const int64_t begin = (int64_t(group) - result * p.pieces) * length;
  const int64_t end = begin + length < p.reduce_size ? begin + length : p.reduce_size;
  device const T* row = in + kept_offset(p, result);
  Value value = Op::identity();
  int64_t first = begin;
  if (p.aligned != 0 && p.reduced_ndim == 1 && p.reduced_strides[0] == 1) {
    first = begin < end ? end / N * N : end;
    const int64_t step = int64_t(threads) * N;
    for (int64_t r = begin + int64_t(lid) * N; r < first; r += kInFlight * step) {
      Pack<T, N> packs[kInFlight];
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        const int64_t at = r + j * step;
        packs[j] = *(device const Pack<T, N>*)(row + (at < first ? at : r));
      }
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        if (r + j * step < first) {
          METAL_UNROLL
          for (int k = 0; k < N; ++k) {
            value = Op::combine(value, Op::of(packs[j].values[k]));
          }
        }
      }
    }
  }
  for (int64_t r = first + lid; r < end; r += threads) {
    value = Op::combine(value, Op::of(row[reduced_offset(p, r)]));
  }
  value = combine_threads<Op>(value, shared, lane, simdgroup, simdgroups);
  if (lid == 0) {
    out[group] = R(value);
  }
}

// Neighbouring results are neighbours in the input. Each lane has N of 32 * N results, and the
// simdgroups share the reduced elements. With N > 1, lanes read 16 bytes at once.
template <typename T, typename R, typename Op, int N>
METAL_FUNC void reduce_columns_of(
    device const T* in,
    device R* out,
    constant ReduceParams& p,
    threadgroup typename Op::Value* shared,
    uint group,
    uint lane,
    uint simdgroup,
    uint simdgroups) {
  using Value = typename Op::Value;
  const uint column_groups = uint((p.out_size + 32 * N - 1) / (32 * N));
  const uint piece = group / column_groups;
  const int64_t i = int64_t(group - piece * column_groups) * 32 * N + lane * N;
  const int64_t length = piece_length(p);
  const int64_t begin = int64_t(piece) * length;
  const int64_t end = begin + length < p.reduce_size ? begin + length : p.reduce_size;
  Value values[N];
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    values[k] = Op::identity();
  }
  if (i < p.out_size) {
    device const T* column = in + kept_offset(p, i);
    for (int64_t r = begin + simdgroup; r < end; r += kInFlight * simdgroups) {
      Pack<T, N> packs[kInFlight];
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        const int64_t at = r + j * int64_t(simdgroups);
        packs[j] = *(device const Pack<T, N>*)(column + reduced_offset(p, at < end ? at : r));
      }
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        if (r + j * int64_t(simdgroups) < end) {
          METAL_UNROLL
          for (int k = 0; k < N; ++k) {
            values[k] = Op::combine(values[k], Op::of(packs[j].values[k]));
          }
        }
      }
    }
  }
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    shared[(simdgroup * N + k) * 32 + lane] = values[k];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  // Each simdgroup combines some of the columns.
  for (uint k = simdgroup; k < N; k += simdgroups) {
    if (i + k < p.out_size) {
      Value value = shared[k * 32 + lane];
      for (uint s = 1; s < simdgroups; ++s) {
        value = Op::combine(value, shared[(s * N + k) * 32 + lane]);
      }
      out[piece * p.out_size + i + k] = R(value);
    }
  }
}

template <typename T, typename R, typename Op>
kernel void reduce_columns(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ReduceParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = typename Op::Value;
  THREADGROUP_ARRAY(Value, shared, [8 * 32]);
  reduce_columns_of<T, R, Op, 1>(in, out, p, shared, group, lane, simdgroup, simdgroups);
}

template <typename T, typename R, typename Op>
kernel void reduce_wide_columns(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ReduceParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = typename Op::Value;
  constexpr int N = ElementsPerThread<T, T>::value;
  THREADGROUP_ARRAY(Value, shared, [8 * 32 * N]);
  reduce_columns_of<T, R, Op, N>(in, out, p, shared, group, lane, simdgroup, simdgroups);
}

#define NARROWS_REDUCE(op, T, tname, R, Op)                                          \
  INSTANTIATE_KERNEL("reduce_" op "_" tname "_rows", reduce_rows, T, R, Op<T>)       \
  INSTANTIATE_KERNEL("reduce_" op "_" tname "_columns", reduce_columns, T, R, Op<T>) \
  INSTANTIATE_KERNEL("reduce_" op "_" tname "_wide_columns", reduce_wide_columns, T, R, Op<T>)
#define NARROWS_REDUCE_ALL(T, tname, unused)                \
  NARROWS_REDUCE("sum", T, tname, SumResult<T>, SumOf)      \
  NARROWS_REDUCE("prod", T, tname, SumResult<T>, ProductOf) \
  NARROWS_REDUCE("min", T, tname, T, MinimumOf)             \
  NARROWS_REDUCE("max", T, tname, T, MaximumOf)             \
  NARROWS_REDUCE("all", T, tname, bool, AllOf)              \
  NARROWS_REDUCE("any", T, tname, bool, AnyOf)
NARROWS_TYPES_any(NARROWS_REDUCE_ALL, unused)

// Sums and products of 16-bit floats are float32 until all pieces are combined.
#define NARROWS_REDUCE_HALF(T, tname)                           \
  NARROWS_REDUCE("sum", T, tname "_float32", float, SumOf)      \
  NARROWS_REDUCE("prod", T, tname "_float32", float, ProductOf) \
  NARROWS_REDUCE("sum", float, "float32_" tname, T, SumOf)      \
  NARROWS_REDUCE("prod", float, "float32_" tname, T, ProductOf)
    NARROWS_REDUCE_HALF(half, "float16") NARROWS_REDUCE_HALF(bfloat, "bfloat16")
