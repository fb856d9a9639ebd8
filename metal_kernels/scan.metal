// Scans: every partial result of a reduction.
#include "common.h"

#include "scan.h"

// A threadgroup scans one contiguous row, tile by tile.
template <typename T, typename R, typename Op>
kernel void scan_rows(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ScanParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = typename Op::Value;
  constexpr int N = 4;
  THREADGROUP_ARRAY(Value, totals, [32]);
  const int64_t first = int64_t(group) * p.length;
  const int64_t last = first + p.length - 1;
  Value carry = Op::identity();
  for (int64_t begin = 0; begin < p.length; begin += int64_t(threads) * N) {
    const int64_t mine = begin + int64_t(lid) * N;
    Value partial[N];
    Value sum = Op::identity();
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      // Exclusive: the total before element k of this thread.
      const int64_t i = mine + k;
      const Value before = sum;
      if (i < p.length) {
        sum = Op::combine(sum, Op::of(in[p.reverse != 0 ? last - i : first + i]));
      }
      partial[k] = p.inclusive != 0 ? sum : before;
    }
    // The total of the lanes before this one.
    Value lanes = sum;
    for (ushort distance = 1; distance < 32; distance <<= 1) {
      const Value below = lane_up(lanes, distance);
      if (lane >= distance) {
        lanes = Op::combine(below, lanes);
      }
    }
    if (lane == 31) {
      totals[simdgroup] = lanes;
    }
    const Value below = lane_up(lanes, ushort(1));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Value before = carry;
    for (uint s = 0; s < simdgroups; ++s) {
      if (s < simdgroup) {
        before = Op::combine(before, totals[s]);
      }
      carry = Op::combine(carry, totals[s]);
    }
    if (lane > 0) {
      before = Op::combine(before, below);
    }
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      const int64_t i = mine + k;
      if (i < p.length) {
        out[p.reverse != 0 ? last - i : first + i] = R(Op::combine(before, partial[k]));
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// A thread scans one line that is not contiguous.
template <typename T, typename R, typename Op>
kernel void scan_columns(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ScanParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  using Value = typename Op::Value;
  const int64_t line = thread_number(group, lid, threads);
  const int64_t outer = line / p.inner;
  if (outer >= p.outer) {
    return;
  }
  const int64_t first = outer * p.length * p.inner + (line - outer * p.inner);
  Value value = Op::identity();
  for (int64_t i = 0; i < p.length; ++i) {
    const int64_t at = first + (p.reverse != 0 ? p.length - 1 - i : i) * p.inner;
    const Value before = value;
    value = Op::combine(value, Op::of(in[at]));
    out[at] = R(p.inclusive != 0 ? value : before);
  }
}

#define NARROWS_SCAN(op, T, tname, R, rname, Op)                                     \
  INSTANTIATE_KERNEL("scan_" op "_" tname "_" rname "_rows", scan_rows, T, R, Op<T>) \
  INSTANTIATE_KERNEL("scan_" op "_" tname "_" rname "_columns", scan_columns, T, R, Op<T>)
#define NARROWS_SCANS(T, tname, unused)               \
  NARROWS_SCAN("sum", T, tname, T, tname, SumOf)      \
  NARROWS_SCAN("prod", T, tname, T, tname, ProductOf) \
  NARROWS_SCAN("min", T, tname, T, tname, MinimumOf)  \
  NARROWS_SCAN("max", T, tname, T, tname, MaximumOf)
#define NARROWS_LOG_SCAN(T, tname, unused) NARROWS_SCAN("logaddexp", T, tname, T, tname, LogSumOf)
NARROWS_TYPES_any(NARROWS_SCANS, unused) NARROWS_TYPES_inexact(NARROWS_LOG_SCAN, unused)
    NARROWS_SCAN("sum", bool, "bool", int32_t, "int32", SumOf)
