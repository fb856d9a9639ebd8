// Loops that write every partial result of a reduction.
#pragma once

#include <math.h>

#include "narrows/backend/cpu/kernels/reduce_loops.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// log(exp(a) + exp(b)), for double and ComplexDouble: in float the terms of a long scan would soon
// be lost in the rounding of their logarithm.
template <typename Type>
struct LogAddExpOf {
  using T = Type;
  static constexpr T identity() {
    if constexpr (kIsComplex<T>) {
      return {-__builtin_inf(), 0};
    } else {
      return -__builtin_inf();
    }
  }
  static T apply(T a, T b) {
    if constexpr (kIsComplex<T>) {
      const bool b_is_larger = b.re > a.re;
      const T large = b_is_larger ? b : a;
      const T small = b_is_larger ? a : b;
      if (small.re == -__builtin_inf() || large.re == __builtin_inf()) {
        return large;
      }
      const double magnitude = ::exp(small.re - large.re);
      const double angle = small.im - large.im;
      const double re = 1 + magnitude * ::cos(angle);
      const double im = magnitude * ::sin(angle);
      return {large.re + ::log(::hypot(re, im)), large.im + ::atan2(im, re)};
    } else {
      if (a != a || b != b) {
        return a + b;
      }
      const T large = a > b ? a : b;
      const T small = a > b ? b : a;
      // Infinities of the same sign have no difference.
      return small == large && large - large != 0 ? large : large + ::log1p(::exp(small - large));
    }
  }
};
template <typename T>
constexpr bool kHasVectors<LogAddExpOf<T>> = false;

template <int N, size_t... kIndex, typename V>
NARROWS_INLINE V reversed(V v, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(v, v, (N - 1 - static_cast<int>(kIndex))...);
}

// v moved up by kBy lanes, with lanes of `fill` below.
template <int N, int kBy, size_t... kIndex, typename V>
NARROWS_INLINE V moved_up(V v, V fill, std::index_sequence<kIndex...>) {
  return __builtin_shufflevector(
      v, fill, (static_cast<int>(kIndex) < kBy ? N : static_cast<int>(kIndex) - kBy)...);
}

// Lane i becomes lanes 0 to i combined.
template <typename Op, int N, int kBy = 1, typename V>
NARROWS_INLINE V prefix(V v, V identity) {
  if constexpr (kBy >= N) {
    return v;
  } else {
    const V moved = moved_up<N, kBy>(v, identity, std::make_index_sequence<N>());
    return prefix<Op, N, kBy * 2>(Op::apply(moved, v), identity);
  }
}

template <typename Op, typename In, typename Out>
struct Scan {
  using T = typename Op::T;
  using Totals = Reduce<Op, In, Out>;
  using Carry = typename Totals::Accumulator;
  using Wide = typename Totals::Wide;
  static_assert(sizeof(Carry) <= kMaxCarrySize);
  // Narrower integers would need more steps for a prefix than an addition per element takes.
  static constexpr bool kVectorRow = kHasVectors<Op> && sizeof(T) >= 4;

  static void add(const void* in, int64_t length, int64_t columns, int64_t stride, void* carries) {
    if (columns == 1) {
      Totals::add(in, 1, 1, length, stride, carries);
    } else {
      Totals::add(in, columns, 1, length, stride, carries);
    }
  }

  static void scan(
      const void* from,
      int64_t length,
      int64_t columns,
      int64_t stride,
      bool reverse,
      bool inclusive,
      void* to_carries,
      void* to) {
    const auto* in = static_cast<const In*>(from);
    auto* out = static_cast<Out*>(to);
    auto* carries = static_cast<Carry*>(to_carries);
    if (columns == 1 && stride == 1) {
      if (reverse) {
        carries[0] = inclusive ? scan_row<true, true>(in, length, carries[0], out)
                               : scan_row<true, false>(in, length, carries[0], out);
      } else {
        carries[0] = inclusive ? scan_row<false, true>(in, length, carries[0], out)
                               : scan_row<false, false>(in, length, carries[0], out);
      }
      return;
    }
    for (int64_t i = 0; i < length; ++i) {
      const int64_t offset = (reverse ? length - 1 - i : i) * stride;
      if (inclusive) {
        scan_columns<true>(in + offset, columns, carries, out + offset);
      } else {
        scan_columns<false>(in + offset, columns, carries, out + offset);
      }
    }
  }

  template <bool kInclusive>
  static void scan_columns(const In* in, int64_t columns, Carry* carries, Out* out) {
    int64_t j = 0;
    if constexpr (kHasVectors<Op>) {
      constexpr int N = kLanes<Carry>;
      for (; j + N <= columns; j += N) {
        using V = Vector<Carry, N>;
        const V before = load_as<V>(carries + j);
        const V x = __builtin_convertvector((load_lanes<T, N>(in + j)), V);
        const V after = Wide::apply(before, x);
        store_lanes<N>(carries + j, after);
        const V result = kInclusive ? after : before;
        store_lanes<N>(out + j, __builtin_convertvector(result, Vector<T, N>));
      }
    }
    for (; j < columns; ++j) {
      const Carry before = carries[j];
      carries[j] = Wide::apply(before, widen<Carry>(widen<T>(in[j])));
      out[j] = narrow<Out>(kInclusive ? carries[j] : before);
    }
  }

  template <bool kReverse, bool kInclusive>
  static Carry scan_row(const In* in, int64_t length, Carry carry, Out* out) {
    int64_t i = 0;
    if constexpr (kVectorRow) {
      constexpr int N = kLanes<T>;
      constexpr auto kAll = std::make_index_sequence<N>();
      const auto identity = splat<T, N>(Op::identity());
      for (; i + N <= length; i += N) {
        const int64_t at = kReverse ? length - i - N : i;
        auto v = load_lanes<T, N>(in + at);
        if constexpr (kReverse) {
          v = reversed<N>(v, kAll);
        }
        v = prefix<Op, N>(v, identity);
        const T total = v[N - 1];
        if constexpr (!kInclusive) {
          v = moved_up<N, 1>(v, identity, kAll);
        }
        v = Op::apply(splat<T, N>(narrow<T>(carry)), v);
        if constexpr (kReverse) {
          v = reversed<N>(v, kAll);
        }
        store_lanes<N>(out + at, v);
        carry = Wide::apply(carry, widen<Carry>(total));
      }
    }
    for (; i < length; ++i) {
      const int64_t at = kReverse ? length - 1 - i : i;
      const Carry before = carry;
      carry = Wide::apply(carry, widen<Carry>(widen<T>(in[at])));
      out[at] = narrow<Out>(kInclusive ? carry : before);
    }
    return carry;
  }

  static constexpr ScanTile tile() {
    return {sizeof(Carry), Totals::begin, add, Totals::merge, scan};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
