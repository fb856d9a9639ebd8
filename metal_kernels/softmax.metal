// softmax and logsumexp of rows.
#include "common.h"

#include "softmax.h"

// Rows of complex numbers are shifted by their largest real part, which bounds exp.
template <typename T>
METAL_FUNC T real_part(T x) {
  return x;
}
METAL_FUNC float real_part(complex64_t x) {
  return x.real;
}
template <typename T>
METAL_FUNC T shifted(T x, T by) {
  return x - by;
}
METAL_FUNC complex64_t shifted(complex64_t x, float by) {
  return complex64_t{x.real - by, x.imag};
}
template <typename T>
METAL_FUNC T scaled(T x, T by) {
  return x * by;
}
METAL_FUNC complex64_t scaled(complex64_t x, float by) {
  return complex64_t{x.real * by, x.imag * by};
}

// The sum of exp(x - maximum) over some elements.
template <typename T>
struct RowSum {
  using Real = decltype(real_part(T{}));
  Real maximum;
  T sum;

  static METAL_FUNC RowSum none() {
    return RowSum{Real(-INFINITY), Convert<T>()(0)};
  }
  static METAL_FUNC bool is_infinite(Real x) {
    return metal::abs(x) == Real(INFINITY);
  }
  METAL_FUNC RowSum with(T x) const {
    const Real re = real_part(x);
    if (re > maximum || re != re) {
      return RowSum{re, Add()(rescaled(re), metal::exp(shifted(x, re)))};
    }
    // All elements are -inf so far: exp(-inf - -inf) would be NaN.
    if (re == Real(-INFINITY)) {
      return *this;
    }
    return RowSum{maximum, Add()(sum, metal::exp(shifted(x, maximum)))};
  }
  METAL_FUNC T rescaled(Real to) const {
    if (maximum == Real(-INFINITY)) {
      return to != to ? Convert<T>()(to) : Convert<T>()(0);
    }
    return scaled(sum, metal::exp(maximum - to));
  }
  METAL_FUNC RowSum merged(RowSum other) const {
    const Real large = Maximum()(maximum, other.maximum);
    if (large == Real(-INFINITY)) {
      return none();
    }
    return RowSum{large, Add()(rescaled(large), other.rescaled(large))};
  }
  METAL_FUNC RowSum merged_lanes() const {
    RowSum result = *this;
    for (ushort mask = 16; mask > 0; mask >>= 1) {
      result = result.merged(RowSum{lane_xor(result.maximum, mask), lane_xor(result.sum, mask)});
    }
    return result;
  }
};

// For a whole row. All threads of the group get the result.
template <typename T>
METAL_FUNC RowSum<Compute<T>> row_sum(
    device const T* row,
    int64_t length,
    threadgroup Compute<T>* sums,
    threadgroup typename RowSum<Compute<T>>::Real* maxima,
    uint lid,
    uint threads,
    uint lane,
    uint simdgroup,
    uint simdgroups) {
  RowSum<Compute<T>> sum = RowSum<Compute<T>>::none();
  for (int64_t i = lid; i < length; i += threads) {
    sum = sum.with(Compute<T>(row[i]));
  }
  sum = sum.merged_lanes();
  if (simdgroups > 1) {
    if (lane == 0) {
      maxima[simdgroup] = sum.maximum;
      sums[simdgroup] = sum.sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sum = RowSum<Compute<T>>::none();
    if (lane < simdgroups) {
      sum = RowSum<Compute<T>>{maxima[lane], sums[lane]};
    }
    sum = sum.merged_lanes();
  }
  return sum;
}

template <typename T>
kernel void softmax(
    device const T* in [[buffer(0)]],
    device T* out [[buffer(1)]],
    constant RowParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = Compute<T>;
  using Real = typename RowSum<Value>::Real;
  THREADGROUP_ARRAY(Value, sums, [32]);
  THREADGROUP_ARRAY(Real, maxima, [32]);
  device const T* row = in + int64_t(group) * p.length;
  device T* out_row = out + int64_t(group) * p.length;
  const RowSum<Value> sum =
      row_sum<T>(row, p.length, sums, maxima, lid, threads, lane, simdgroup, simdgroups);
  const Value inverse = Reciprocal()(sum.sum);
  for (int64_t i = lid; i < p.length; i += threads) {
    const Value e = metal::exp(shifted(Value(row[i]), sum.maximum));
    out_row[i] = T(Multiply()(e, inverse));
  }
}

// For rows that are aligned to 16 bytes and consist of whole packs, at most kPacks for each thread:
// they stay in registers. If an element is NaN, the largest element is NaN, and so are all results.
template <typename T>
kernel void softmax_short(
    device const T* in [[buffer(0)]],
    device T* out [[buffer(1)]],
    constant RowParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = Compute<T>;
  using Elements = Pack<T, ElementsPerThread<T, T>::value>;
  constexpr int N = ElementsPerThread<T, T>::value;
  constexpr int kPacks = 4;
  THREADGROUP_ARRAY(Value, maxima, [32]);
  THREADGROUP_ARRAY(Value, sums, [32]);
  const uint packs = uint(p.length) / N;
  device const Elements* row = (device const Elements*)(in + int64_t(group) * p.length);
  device Elements* out_row = (device Elements*)(out + int64_t(group) * p.length);
  Elements loaded[kPacks];
  METAL_UNROLL
  for (int j = 0; j < kPacks; ++j) {
    const uint at = lid + j * threads;
    loaded[j] = row[at < packs ? at : 0u];
  }
  Value maximum = Value(-INFINITY);
  METAL_UNROLL
  for (int j = 0; j < kPacks; ++j) {
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      maximum = Maximum()(maximum, Value(loaded[j].values[k]));
    }
  }
  maximum = combine_all_threads<MaximumOf<T>>(maximum, maxima, lane, simdgroup, simdgroups);
  Value values[kPacks][N];
  Value sum = Value(0);
  METAL_UNROLL
  for (int j = 0; j < kPacks; ++j) {
    const bool present = lid + j * threads < packs;
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      values[j][k] = metal::exp(Value(loaded[j].values[k]) - maximum);
      sum += present ? values[j][k] : Value(0);
    }
  }
  sum = combine_all_threads<SumOf<T>>(sum, sums, lane, simdgroup, simdgroups);
  const Value inverse = Reciprocal()(sum);
  METAL_UNROLL
  for (int j = 0; j < kPacks; ++j) {
    const uint at = lid + j * threads;
    if (at < packs) {
      Elements results;
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        results.values[k] = T(values[j][k] * inverse);
      }
      out_row[at] = results;
    }
  }
}

template <typename T>
kernel void logsumexp(
    device const T* in [[buffer(0)]],
    device T* out [[buffer(1)]],
    constant RowParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = Compute<T>;
  using Real = typename RowSum<Value>::Real;
  THREADGROUP_ARRAY(Value, sums, [32]);
  THREADGROUP_ARRAY(Real, maxima, [32]);
  device const T* row = in + int64_t(group) * p.length;
  const RowSum<Value> sum =
      row_sum<T>(row, p.length, sums, maxima, lid, threads, lane, simdgroup, simdgroups);
  if (lid == 0) {
    const Value maximum = Convert<Value>()(sum.maximum);
    out[group] = RowSum<Value>::is_infinite(sum.maximum) ? T(maximum)
                                                         : T(Add()(maximum, metal::log(sum.sum)));
  }
}

#define NARROWS_SOFTMAX(T, tname, unused)          \
  INSTANTIATE_KERNEL("softmax_" tname, softmax, T) \
  INSTANTIATE_KERNEL("logsumexp_" tname, logsumexp, T)
NARROWS_TYPES_inexact(NARROWS_SOFTMAX, unused)
#define NARROWS_SHORT_SOFTMAX(T, tname, unused) \
  INSTANTIATE_KERNEL("softmax_" tname "_short", softmax_short, T)
NARROWS_TYPES_floating(NARROWS_SHORT_SOFTMAX, unused)
