// The index of the first smallest or largest element.
#include "common.h"

#include "reduce_walk.h"

template <typename T>
struct Place {
  T value;
  uint index;
};

template <typename T, bool kMax>
struct ArgOf {
  using Value = Wide<T>;
  // NaN beats every number.
  static METAL_FUNC bool beyond(Value a, Value b) {
    if (IsNan()(a) || IsNan()(b)) {
      return IsNan()(a) && !IsNan()(b);
    }
    return kMax ? Greater()(a, b) : Less()(a, b);
  }
  static METAL_FUNC Place<Value> combine(Place<Value> a, Place<Value> b) {
    const bool tie = !beyond(a.value, b.value) && !beyond(b.value, a.value);
    return beyond(b.value, a.value) || (tie && b.index < a.index) ? b : a;
  }
  // Indices grow: the first of equal values stays. Reading it again does not change the place.
  static METAL_FUNC Place<Value> with(Place<Value> place, Value value, uint index) {
    return beyond(value, place.value) ? Place<Value>{value, index} : place;
  }
  static METAL_FUNC Place<Value> combine_lanes(Place<Value> place) {
    for (ushort mask = 16; mask > 0; mask >>= 1) {
      const Place<Value> other =
          Place<Value>{lane_xor(place.value, mask), lane_xor(place.index, mask)};
      place = combine(place, other);
    }
    return place;
  }
};

// The places of all threads together. Those of the first simdgroup get the result.
template <typename Op, typename Value>
METAL_FUNC Place<Value> combine_places(
    Place<Value> place,
    threadgroup Value* values,
    threadgroup uint* indices,
    uint lane,
    uint simdgroup,
    uint simdgroups) {
  place = Op::combine_lanes(place);
  if (simdgroups == 1) {
    return place;
  }
  if (lane == 0) {
    values[simdgroup] = place.value;
    indices[simdgroup] = place.index;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    const uint s = lane < simdgroups ? lane : 0u;
    place = Op::combine_lanes(Place<Value>{values[s], indices[s]});
  }
  return place;
}

// A threadgroup finds the place in one piece of a row.
template <typename T, bool kMax>
kernel void arg_reduce(
    device const T* in [[buffer(0)]],
    device uint32_t* out [[buffer(1)]],
    constant ReduceParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Op = ArgOf<T, kMax>;
  using Value = typename Op::Value;
  constexpr int N = ElementsPerThread<T, T>::value;
  THREADGROUP_ARRAY(Value, values, [32]);
  THREADGROUP_ARRAY(uint, indices, [32]);
  const uint result = p.pieces == 1 ? group : group / uint(p.pieces);
  const int64_t begin = int64_t(group - result * uint(p.pieces)) * piece_length(p);
  const int64_t end = metal::min(begin + piece_length(p), p.reduce_size);
  device const T* row = in + kept_offset(p, result);
  // Threads without elements hold the piece's first element as well, and so do pieces without.
  const int64_t at = metal::min(begin, p.reduce_size - 1);
  Place<Value> place = Place<Value>{Value(row[reduced_offset(p, at)]), uint(at)};
  int64_t first = begin;
  if (p.aligned != 0 && p.reduced_ndim == 1 && p.reduced_strides[0] == 1) {
    first = begin < end ? end / N * N : end;
    const int64_t step = int64_t(threads) * N;
    for (int64_t r = begin + int64_t(lid) * N; r < first; r += kInFlight * step) {
      Pack<T, N> packs[kInFlight];
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        const int64_t from = r + j * step;
        packs[j] = *(device const Pack<T, N>*)(row + (from < first ? from : r));
      }
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        const int64_t from = r + j * step < first ? r + j * step : r;
        METAL_UNROLL
        for (int k = 0; k < N; ++k) {
          place = Op::with(place, Value(packs[j].values[k]), uint(from) + uint(k));
        }
      }
    }
  }
  for (int64_t r = first + lid; r < end; r += threads) {
    place = Op::with(place, Value(row[reduced_offset(p, r)]), uint(r));
  }
  place = combine_places<Op>(place, values, indices, lane, simdgroup, simdgroups);
  if (lid == 0) {
    out[group] = place.index;
  }
}

// A threadgroup combines the places in the pieces of a row.
template <typename T, bool kMax>
kernel void arg_reduce_together(
    device const T* in [[buffer(0)]],
    device const uint32_t* pieces [[buffer(1)]],
    device uint32_t* out [[buffer(2)]],
    constant ReduceParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Op = ArgOf<T, kMax>;
  using Value = typename Op::Value;
  THREADGROUP_ARRAY(Value, values, [32]);
  THREADGROUP_ARRAY(uint, indices, [32]);
  device const T* row = in + kept_offset(p, group);
  pieces += int64_t(group) * p.pieces;
  const uint first = pieces[lid < uint(p.pieces) ? lid : 0u];
  Place<Value> place = Place<Value>{Value(row[reduced_offset(p, first)]), first};
  for (uint i = lid + threads; i < uint(p.pieces); i += threads) {
    const uint index = pieces[i];
    place = Op::combine(place, Place<Value>{Value(row[reduced_offset(p, index)]), index});
  }
  place = combine_places<Op>(place, values, indices, lane, simdgroup, simdgroups);
  if (lid == 0) {
    out[group] = place.index;
  }
}

#define NARROWS_ARG_REDUCE_OF(op, T, tname, is_max)                             \
  INSTANTIATE_KERNEL("arg_reduce_" op "_" tname "_rows", arg_reduce, T, is_max) \
  INSTANTIATE_KERNEL("arg_reduce_" op "_" tname "_together", arg_reduce_together, T, is_max)
#define NARROWS_ARG_REDUCE(T, tname, unused)       \
  NARROWS_ARG_REDUCE_OF("argmin", T, tname, false) \
  NARROWS_ARG_REDUCE_OF("argmax", T, tname, true)
NARROWS_TYPES_any(NARROWS_ARG_REDUCE, unused)
