// The index of the first smallest or largest element.
#include "common.h"

#include "reduce.h"

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
  static METAL_FUNC Place<Value> combine_lanes(Place<Value> place) {
    for (ushort mask = 16; mask > 0; mask >>= 1) {
      const Place<Value> other =
          Place<Value>{lane_xor(place.value, mask), lane_xor(place.index, mask)};
      place = combine(place, other);
    }
    return place;
  }
};

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
  THREADGROUP_ARRAY(Value, values, [32]);
  THREADGROUP_ARRAY(uint, indices, [32]);
  device const T* row = in + offset_of(uint64_t(group), p.kept_ndim, p.kept_shape, p.kept_strides);
  // Threads without elements hold the first element as well.
  Place<Value> place = Place<Value>{Value(row[0]), 0u};
  for (uint r = lid; r < p.reduce_size; r += threads) {
    const int64_t offset = p.reduced_ndim <= 1
                               ? r * p.reduced_strides[0]
                               : offset_of(r, p.reduced_ndim, p.reduced_shape, p.reduced_strides);
    place = Op::combine(place, Place<Value>{Value(row[offset]), r});
  }
  place = Op::combine_lanes(place);
  if (simdgroups > 1) {
    if (lane == 0) {
      values[simdgroup] = place.value;
      indices[simdgroup] = place.index;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simdgroup == 0) {
      const uint s = lane < simdgroups ? lane : 0u;
      place = Op::combine_lanes(Place<Value>{values[s], indices[s]});
    }
  }
  if (lid == 0) {
    out[group] = place.index;
  }
}

#define NARROWS_ARG_REDUCE(T, tname, unused)                                   \
  INSTANTIATE_KERNEL("arg_reduce_argmin_" tname "_rows", arg_reduce, T, false) \
  INSTANTIATE_KERNEL("arg_reduce_argmax_" tname "_rows", arg_reduce, T, true)
NARROWS_TYPES_any(NARROWS_ARG_REDUCE, unused)
