// Loops that reduce runs of elements into accumulators.
#pragma once

#include "narrows/backend/cpu/kernels/combine.h"
#include "narrows/backend/cpu/kernels/reduce_tiles.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Elements along the reduced dimension that are summed in the type of the loop before the sum
// goes into the wider accumulator.
constexpr int64_t kRunBlock = 8192;
constexpr int64_t kRowBlock = 128;

// What a loop in Op::T is accumulated in across blocks.
template <typename Op>
struct AccumulatorOf {
  using type = typename Op::T;
};
template <>
struct AccumulatorOf<SumOf<float>> {
  using type = double;
};
template <>
struct AccumulatorOf<SumOf<Complex>> {
  using type = ComplexDouble;
};

// The same operation on another type.
template <typename Op, typename T>
struct Rebind;
template <template <typename> typename Op, typename From, typename T>
struct Rebind<Op<From>, T> {
  using type = Op<T>;
};
template <typename From, bool kMax, typename T>
struct Rebind<ExtremeOf<From, kMax>, T> {
  using type = ExtremeOf<T, kMax>;
};

template <typename Op, int N>
NARROWS_INLINE typename Op::T reduce_lanes(Vector<typename Op::T, N> vector) {
  typename Op::T lanes[N];
  std::memcpy(lanes, &vector, sizeof(vector));
  for (int width = N / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      lanes[i] = Op::apply(lanes[i], lanes[i + width]);
    }
  }
  return lanes[0];
}

// All of n contiguous elements.
template <typename Op, typename In>
NARROWS_INLINE typename Op::T reduce_run(const In* in, int64_t n) {
  using T = typename Op::T;
  int64_t i = 0;
  T result = Op::identity();
  if constexpr (!kHasVectors<Op>) {
    T a = result, b = result, c = result, d = result;
    for (; i + 4 <= n; i += 4) {
      a = Op::apply(a, widen<T>(in[i]));
      b = Op::apply(b, widen<T>(in[i + 1]));
      c = Op::apply(c, widen<T>(in[i + 2]));
      d = Op::apply(d, widen<T>(in[i + 3]));
    }
    result = Op::apply(Op::apply(a, b), Op::apply(c, d));
  } else {
    constexpr int N = kLanes<T>;
    if (n >= N) {
      using V = Vector<T, N>;
      V a = splat<T, N>(result), b = a, c = a, d = a;
      for (; i + 4 * N <= n; i += 4 * N) {
        a = Op::apply(a, load_lanes<T, N>(in + i));
        b = Op::apply(b, load_lanes<T, N>(in + i + N));
        c = Op::apply(c, load_lanes<T, N>(in + i + 2 * N));
        d = Op::apply(d, load_lanes<T, N>(in + i + 3 * N));
      }
      for (; i + N <= n; i += N) {
        a = Op::apply(a, load_lanes<T, N>(in + i));
      }
      result = reduce_lanes<Op, N>(Op::apply(Op::apply(a, b), Op::apply(c, d)));
    }
  }
  for (; i < n; ++i) {
    result = Op::apply(result, widen<T>(in[i]));
  }
  return result;
}

// accumulators[j] op= each of `rows` rows' element j.
template <typename Op, typename In>
NARROWS_INLINE void reduce_rows(
    const In* in, int64_t columns, int64_t rows, int64_t row_stride, typename Op::T* accumulators) {
  using T = typename Op::T;
  for (int64_t r = 0; r < rows;) {
    const In* row = in + r * row_stride;
    int64_t j = 0;
    if (r + 4 <= rows) {
      const In* row1 = row + row_stride;
      const In* row2 = row1 + row_stride;
      const In* row3 = row2 + row_stride;
      if constexpr (kHasVectors<Op>) {
        constexpr int N = kLanes<T>;
        for (; j + N <= columns; j += N) {
          const auto ab = Op::apply(load_lanes<T, N>(row + j), load_lanes<T, N>(row1 + j));
          const auto cd = Op::apply(load_lanes<T, N>(row2 + j), load_lanes<T, N>(row3 + j));
          const auto sum = load_as<Vector<T, N>>(accumulators + j);
          store_lanes<N>(accumulators + j, Op::apply(sum, Op::apply(ab, cd)));
        }
      }
      for (; j < columns; ++j) {
        const T ab = Op::apply(widen<T>(row[j]), widen<T>(row1[j]));
        const T cd = Op::apply(widen<T>(row2[j]), widen<T>(row3[j]));
        accumulators[j] = Op::apply(accumulators[j], Op::apply(ab, cd));
      }
      r += 4;
    } else {
      for (; j < columns; ++j) {
        accumulators[j] = Op::apply(accumulators[j], widen<T>(row[j]));
      }
      r += 1;
    }
  }
}

template <typename Op, typename In, typename Out>
struct Reduce {
  using T = typename Op::T;
  using Accumulator = typename AccumulatorOf<Op>::type;
  using Wide = typename Rebind<Op, Accumulator>::type;
  static constexpr bool kWidens = !std::is_same_v<T, Accumulator>;
  static_assert(sizeof(Accumulator) <= kMaxAccumulatorSize);

  static void begin(void* accumulators, int64_t n) {
    auto* to = static_cast<Accumulator*>(accumulators);
    for (int64_t i = 0; i < n; ++i) {
      to[i] = Wide::identity();
    }
  }

  static void add(
      const void* from,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      void* to) {
    const auto* in = static_cast<const In*>(from);
    auto* accumulators = static_cast<Accumulator*>(to);
    if (reduced_stride == 1 && reduced > 1) {
      add_runs(in, kept, kept_stride, reduced, accumulators);
    } else if (kept_stride == 1 && kept >= 4) {
      add_rows(in, kept, reduced, reduced_stride, accumulators);
    } else {
      add_strided(in, kept, kept_stride, reduced, reduced_stride, accumulators);
    }
  }

  static void add_runs(
      const In* in, int64_t kept, int64_t kept_stride, int64_t reduced, Accumulator* accumulators) {
    for (int64_t k = 0; k < kept; ++k) {
      const In* run = in + k * kept_stride;
      Accumulator sum = accumulators[k];
      for (int64_t r = 0; r < reduced; r += kRunBlock) {
        const int64_t n = reduced - r < kRunBlock ? reduced - r : kRunBlock;
        sum = Wide::apply(sum, widen<Accumulator>(reduce_run<Op>(run + r, n)));
      }
      accumulators[k] = sum;
    }
  }

  static void add_rows(
      const In* in, int64_t columns, int64_t rows, int64_t row_stride, Accumulator* accumulators) {
    if constexpr (!kWidens) {
      reduce_rows<Op>(in, columns, rows, row_stride, accumulators);
    } else {
      alignas(64) T block[kReduceTile];
      for (int64_t r = 0; r < rows; r += kRowBlock) {
        for (int64_t j = 0; j < columns; ++j) {
          block[j] = Op::identity();
        }
        const int64_t n = rows - r < kRowBlock ? rows - r : kRowBlock;
        reduce_rows<Op>(in + r * row_stride, columns, n, row_stride, block);
        for (int64_t j = 0; j < columns; ++j) {
          accumulators[j] = Wide::apply(accumulators[j], widen<Accumulator>(block[j]));
        }
      }
    }
  }

  static void add_strided(
      const In* in,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      Accumulator* accumulators) {
    const int64_t kept_step = kept_stride < 0 ? -kept_stride : kept_stride;
    const int64_t reduced_step = reduced_stride < 0 ? -reduced_stride : reduced_stride;
    if (kept_step < reduced_step && kept > 1) {
      for (int64_t r = 0; r < reduced; ++r) {
        const In* row = in + r * reduced_stride;
        for (int64_t k = 0; k < kept; ++k) {
          const auto value = widen<Accumulator>(widen<T>(row[k * kept_stride]));
          accumulators[k] = Wide::apply(accumulators[k], value);
        }
      }
      return;
    }
    for (int64_t k = 0; k < kept; ++k) {
      const In* run = in + k * kept_stride;
      Accumulator a = accumulators[k], b = Wide::identity();
      int64_t r = 0;
      for (; r + 2 <= reduced; r += 2) {
        a = Wide::apply(a, widen<Accumulator>(widen<T>(run[r * reduced_stride])));
        b = Wide::apply(b, widen<Accumulator>(widen<T>(run[(r + 1) * reduced_stride])));
      }
      if (r < reduced) {
        a = Wide::apply(a, widen<Accumulator>(widen<T>(run[r * reduced_stride])));
      }
      accumulators[k] = Wide::apply(a, b);
    }
  }

  static void merge(const void* from, int64_t n, void* to) {
    const auto* in = static_cast<const Accumulator*>(from);
    auto* accumulators = static_cast<Accumulator*>(to);
    for (int64_t i = 0; i < n; ++i) {
      accumulators[i] = Wide::apply(accumulators[i], in[i]);
    }
  }

  static void finish(const void* from, int64_t n, void* to, int64_t out_stride) {
    const auto* accumulators = static_cast<const Accumulator*>(from);
    auto* out = static_cast<Out*>(to);
    for (int64_t i = 0; i < n; ++i) {
      out[i * out_stride] = narrow<Out>(accumulators[i]);
    }
  }

  static constexpr ReduceTile tile() {
    return {sizeof(Accumulator), begin, add, merge, finish};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
