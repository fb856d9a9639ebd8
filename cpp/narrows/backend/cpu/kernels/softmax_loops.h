// Loops over rows for softmax and logsumexp.
#pragma once

#include "narrows/backend/cpu/kernels/float_math.h"
#include "narrows/backend/cpu/kernels/reduce_loops.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int64_t kExpBlock = 1024;
// 16-bit rows up to this length are kept in float between the passes.
constexpr int64_t kRowBuffer = 4096;
// Rows up to this length are taken together, so that exp runs over full vectors.
constexpr int64_t kShortRow = 64;

NARROWS_INLINE float exponential(float x) {
  return metal::exp(x);
}

// For x <= 0 or NaN, without branches.
NARROWS_INLINE double exponential(double x) {
  using metal::detail::mul_add;
  using metal::detail::polynomial;
  constexpr double kRounder = 0x1.8p52;
  constexpr double kLn2High = 0x1.62e42feep-1; // 32 bits: its products with exponents are exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  const double clamped = x < -746.0 ? -746.0 : x;
  const double t = mul_add(clamped, 1.4426950408889634, kRounder);
  const double n = t - kRounder;
  const double r = mul_add(n, -kLn2Low, mul_add(n, -kLn2High, clamped));
  // (exp(r) - 1 - r) / r^2 as a series: its first omitted term is below 2^-57 of exp(r).
  const double q = polynomial(
      r,
      1.0 / 2.0,
      1.0 / 6.0,
      1.0 / 24.0,
      1.0 / 120.0,
      1.0 / 720.0,
      1.0 / 5040.0,
      1.0 / 40320.0,
      1.0 / 362880.0,
      1.0 / 3628800.0,
      1.0 / 39916800.0,
      1.0 / 479001600.0,
      1.0 / 6227020800.0);
  const double p = 1.0 + mul_add(r * r, q, r);
  // In two steps, because 2^n may be out of range where the product is not.
  const int64_t exponent = bits_as<int64_t>(t) - bits_as<int64_t>(kRounder);
  const int64_t half = exponent >> 1;
  const auto low = bits_as<double>(static_cast<uint64_t>(half + 1023) << 52);
  const auto high = bits_as<double>(static_cast<uint64_t>(exponent - half + 1023) << 52);
  return p * low * high;
}

template <typename T, typename Stored>
struct Softmax {
  static constexpr int N = kLanes<T>;
  static constexpr bool kInPlace = std::is_same_v<T, Stored>;

  static void widen_all(const Stored* in, int64_t n, T* out) {
    int64_t i = 0;
    for (; i + N <= n; i += N) {
      store_lanes<N>(out + i, load_lanes<T, N>(in + i));
    }
    for (; i < n; ++i) {
      out[i] = widen<T>(in[i]);
    }
  }

  static void scale_all(const T* in, int64_t n, T factor, Stored* out) {
    int64_t i = 0;
    for (; i + N <= n; i += N) {
      store_lanes<N>(out + i, load_lanes<T, N>(in + i) * factor);
    }
    for (; i < n; ++i) {
      out[i] = narrow<Stored>(in[i] * factor);
    }
  }

  // out[i] = exp(in[i] - maximum); returns their sum.
  static double exp_all(const T* in, int64_t n, T maximum, T* out) {
    double sum = 0;
    for (int64_t begin = 0; begin < n; begin += kExpBlock) {
      const int64_t end = begin + kExpBlock < n ? begin + kExpBlock : n;
      for (int64_t i = begin; i < end; ++i) {
        out[i] = exponential(in[i] - maximum);
      }
      sum += static_cast<double>(reduce_run<SumOf<T>>(out + begin, end - begin));
    }
    return sum;
  }

  static void rows(const void* from, int64_t rows, int64_t length, void* to) {
    const auto* in = static_cast<const Stored*>(from);
    auto* out = static_cast<Stored*>(to);
    if (length <= kShortRow) {
      short_rows(in, rows, length, out);
      return;
    }
    for (int64_t r = 0; r < rows; ++r) {
      one_row(in + r * length, length, out + r * length);
    }
  }

  static void one_row(const Stored* in, int64_t length, Stored* out) {
    if constexpr (kInPlace) {
      const T maximum = reduce_run<MaxOf<T>>(in, length);
      const double sum = exp_all(in, length, maximum, out);
      scale_all(out, length, static_cast<T>(1.0 / sum), out);
    } else if (length <= kRowBuffer) {
      alignas(64) T row[kRowBuffer];
      widen_all(in, length, row);
      const T maximum = reduce_run<MaxOf<T>>(row, length);
      const double sum = exp_all(row, length, maximum, row);
      scale_all(row, length, static_cast<T>(1.0 / sum), out);
    } else {
      normalize(in, length, summary(in, length), out);
    }
  }

  static void short_rows(const Stored* in, int64_t rows, int64_t length, Stored* out) {
    alignas(64) T block[kExpBlock];
    const int64_t together = kExpBlock / (length > 0 ? length : 1);
    for (int64_t r = 0; r < rows; r += together) {
      const int64_t count = rows - r < together ? rows - r : together;
      const int64_t size = count * length;
      widen_all(in + r * length, size, block);
      for (int64_t k = 0; k < count; ++k) {
        T* row = block + k * length;
        const T maximum = reduce_run<MaxOf<T>>(row, length);
        for (int64_t i = 0; i < length; ++i) {
          row[i] -= maximum;
        }
      }
      for (int64_t i = 0; i < size; ++i) {
        block[i] = exponential(block[i]);
      }
      for (int64_t k = 0; k < count; ++k) {
        T* row = block + k * length;
        const T factor = T{1} / reduce_run<SumOf<T>>(row, length);
        for (int64_t i = 0; i < length; ++i) {
          row[i] *= factor;
        }
      }
      scale_all(block, size, T{1}, out + r * length);
    }
  }

  static RowSummary summary(const void* from, int64_t length) {
    const auto* in = static_cast<const Stored*>(from);
    alignas(64) T block[kExpBlock];
    T maximum = MaxOf<T>::identity();
    double sum = 0;
    for (int64_t begin = 0; begin < length; begin += kExpBlock) {
      const int64_t n = length - begin < kExpBlock ? length - begin : kExpBlock;
      widen_all(in + begin, n, block);
      const T block_maximum = reduce_run<MaxOf<T>>(block, n);
      if (MaxOf<T>::beyond(maximum, block_maximum)) {
        sum = sum == 0 ? 0 : sum * static_cast<double>(exponential(maximum - block_maximum));
        maximum = block_maximum;
      }
      // Nothing but -inf so far: there is nothing to add.
      if (maximum != MaxOf<T>::identity()) {
        sum += exp_all(block, n, maximum, block);
      }
    }
    return {static_cast<double>(maximum), sum};
  }

  static void normalize(const void* from, int64_t length, RowSummary row, void* to) {
    const auto* in = static_cast<const Stored*>(from);
    auto* out = static_cast<Stored*>(to);
    alignas(64) T block[kExpBlock];
    const T maximum = static_cast<T>(row.maximum);
    for (int64_t begin = 0; begin < length; begin += kExpBlock) {
      const int64_t n = length - begin < kExpBlock ? length - begin : kExpBlock;
      widen_all(in + begin, n, block);
      for (int64_t i = 0; i < n; ++i) {
        block[i] = exponential(block[i] - maximum);
      }
      scale_all(block, n, static_cast<T>(1.0 / row.sum), out + begin);
    }
  }

  static constexpr SoftmaxTile tile() {
    return {rows, summary, normalize};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
