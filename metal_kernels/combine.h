// The associative operations of reductions and scans, and how the threads of a group share them.
#pragma once

// Limits of an element type, as numbers of the type that it is combined in.
template <typename T>
METAL_FUNC Wide<T> lowest_of() {
  if constexpr (!metal::is_integral_v<T>) {
    return Wide<T>(-INFINITY);
  } else if constexpr (metal::is_signed_v<T>) {
    return Wide<T>(T(uint64_t(1) << (8 * sizeof(T) - 1)));
  } else {
    return Wide<T>(0);
  }
}
template <typename T>
METAL_FUNC Wide<T> highest_of() {
  if constexpr (!metal::is_integral_v<T>) {
    return Wide<T>(INFINITY);
  } else if constexpr (metal::is_same_v<T, bool>) {
    return Wide<T>(1);
  } else if constexpr (metal::is_signed_v<T>) {
    return Wide<T>(T(~(uint64_t(1) << (8 * sizeof(T) - 1))));
  } else {
    return Wide<T>(T(~uint64_t(0)));
  }
}
template <>
METAL_FUNC complex64_t lowest_of<complex64_t>() {
  return complex64_t{-INFINITY, -INFINITY};
}
template <>
METAL_FUNC complex64_t highest_of<complex64_t>() {
  return complex64_t{INFINITY, INFINITY};
}

// Each operation has Value, the type that elements of type T are combined in.
template <typename T>
struct SumOf {
  using Value = Wide<T>;
  static METAL_FUNC Value identity() {
    return Convert<Value>()(0);
  }
  static METAL_FUNC Value of(T x) {
    return Value(x);
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return Add()(a, b);
  }
};
template <typename T>
struct ProductOf {
  using Value = Wide<T>;
  static METAL_FUNC Value identity() {
    return Convert<Value>()(1);
  }
  static METAL_FUNC Value of(T x) {
    return Value(x);
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return Multiply()(a, b);
  }
};
template <typename T>
struct MinimumOf {
  using Value = Wide<T>;
  static METAL_FUNC Value identity() {
    return highest_of<T>();
  }
  static METAL_FUNC Value of(T x) {
    return Value(x);
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return Minimum()(a, b);
  }
};
template <typename T>
struct MaximumOf {
  using Value = Wide<T>;
  static METAL_FUNC Value identity() {
    return lowest_of<T>();
  }
  static METAL_FUNC Value of(T x) {
    return Value(x);
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return Maximum()(a, b);
  }
};
template <typename T>
struct AllOf {
  using Value = uint32_t;
  static METAL_FUNC Value identity() {
    return 1u;
  }
  static METAL_FUNC Value of(T x) {
    return Value(Convert<bool>()(Compute<T>(x)));
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return a & b;
  }
};
template <typename T>
struct AnyOf {
  using Value = uint32_t;
  static METAL_FUNC Value identity() {
    return 0u;
  }
  static METAL_FUNC Value of(T x) {
    return Value(Convert<bool>()(Compute<T>(x)));
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return a | b;
  }
};
template <typename T>
struct LogSumOf {
  using Value = Wide<T>;
  static METAL_FUNC Value identity() {
    return Convert<Value>()(-INFINITY);
  }
  static METAL_FUNC Value of(T x) {
    return Value(x);
  }
  static METAL_FUNC Value combine(Value a, Value b) {
    return LogAddExp()(a, b);
  }
};

// simdgroup functions take no 64-bit numbers on Metal.
template <typename T>
METAL_FUNC T lane_xor(T value, ushort mask) {
  if constexpr (sizeof(T) == 8) {
    const uint2 words = as_type<uint2>(value);
    return as_type<T>(uint2(simd_shuffle_xor(words.x, mask), simd_shuffle_xor(words.y, mask)));
  } else {
    return simd_shuffle_xor(value, mask);
  }
}
METAL_FUNC complex64_t lane_xor(complex64_t value, ushort mask) {
  return complex64_t{simd_shuffle_xor(value.real, mask), simd_shuffle_xor(value.imag, mask)};
}
template <typename T>
METAL_FUNC T lane_up(T value, ushort distance) {
  if constexpr (sizeof(T) == 8) {
    const uint2 words = as_type<uint2>(value);
    return as_type<T>(
        uint2(simd_shuffle_up(words.x, distance), simd_shuffle_up(words.y, distance)));
  } else {
    return simd_shuffle_up(value, distance);
  }
}
METAL_FUNC complex64_t lane_up(complex64_t value, ushort distance) {
  return complex64_t{simd_shuffle_up(value.real, distance), simd_shuffle_up(value.imag, distance)};
}

// Combines all lanes. All lanes get the result.
template <typename Op>
METAL_FUNC typename Op::Value combine_lanes(typename Op::Value value) {
  for (ushort mask = 16; mask > 0; mask >>= 1) {
    value = Op::combine(value, lane_xor(value, mask));
  }
  return value;
}

// Combines all threads of a group. All lanes of its first simdgroup get the result. `shared` holds
// one value for each simdgroup.
template <typename Op>
METAL_FUNC typename Op::Value combine_threads(
    typename Op::Value value,
    threadgroup typename Op::Value* shared,
    uint lane,
    uint simdgroup,
    uint simdgroups) {
  value = combine_lanes<Op>(value);
  if (simdgroups == 1) {
    return value;
  }
  if (lane == 0) {
    shared[simdgroup] = value;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    value = Op::identity();
    if (lane < simdgroups) {
      value = shared[lane];
    }
    value = combine_lanes<Op>(value);
  }
  return value;
}

// The same, but all threads get the result.
template <typename Op>
METAL_FUNC typename Op::Value combine_all_threads(
    typename Op::Value value,
    threadgroup typename Op::Value* shared,
    uint lane,
    uint simdgroup,
    uint simdgroups) {
  value = combine_lanes<Op>(value);
  if (simdgroups == 1) {
    return value;
  }
  if (lane == 0) {
    shared[simdgroup] = value;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  value = Op::identity();
  if (lane < simdgroups) {
    value = shared[lane];
  }
  return combine_lanes<Op>(value);
}
