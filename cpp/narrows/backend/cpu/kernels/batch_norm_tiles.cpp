#include "narrows/backend/cpu/kernels/batch_norm_tiles.h"

#include "narrows/backend/cpu/kernels/product_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Sums in registers: a strip of so many vectors of channels, in so many sums for each.
constexpr int kSums = 8;
constexpr int kStripVectors = 4;

// Calls f(first channel) for strips of channels, with its vectors' lanes and their number.
template <typename F>
NARROWS_INLINE void each_strip(int64_t channels, F&& f) {
  constexpr int N = kLanes<float>;
  const auto strips = [&]<int L, int M>(int64_t c) {
    for (; c + L * M <= channels; c += L * M) {
      f.template operator()<L, M>(c);
    }
    return c;
  };
  int64_t c = strips.template operator()<N, kStripVectors>(0);
  c = strips.template operator()<N, 2>(c);
  c = strips.template operator()<N, 1>(c);
  strips.template operator()<1, 1>(c);
}

// Sums over rows of a strip. Neighbouring rows go to different sums, which do not wait for each
// other. value(row, m) is what vector m of a row adds.
template <int N, int M, typename Value>
NARROWS_INLINE void sum_rows(int64_t rows, Vector<float, N>* totals, Value&& value) {
  constexpr int kRows = kSums / M;
  Vector<float, N> sums[kRows][M] = {};
  int64_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
#pragma GCC unroll 8
    for (int k = 0; k < kRows; ++k) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        sums[k][m] += value(row + k, m);
      }
    }
  }
  for (; row < rows; ++row) {
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      sums[0][m] += value(row, m);
    }
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) {
    totals[m] = sums[0][m];
#pragma GCC unroll 8
    for (int k = 1; k < kRows; ++k) {
      totals[m] += sums[k][m];
    }
  }
}

void add_moments(
    const float* x,
    int64_t rows,
    int64_t channels,
    int64_t before,
    double* means,
    double* squares) {
  const double share = static_cast<double>(rows) / static_cast<double>(before + rows);
  each_strip(channels, [&]<int N, int M>(int64_t c) {
    using V = Vector<float, N>;
    const float* from = x + c;
    V mean[M];
    V square[M];
    sum_rows<N, M>(
        rows, mean, [&](int64_t row, int m) { return load_as<V>(from + row * channels + m * N); });
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      mean[m] /= splat<float, N>(static_cast<float>(rows));
    }
    sum_rows<N, M>(rows, square, [&](int64_t row, int m) {
      const V distance = load_as<V>(from + row * channels + m * N) - mean[m];
      return distance * distance;
    });
    for (int i = 0; i < M * N; ++i) {
      const double step = mean[i / N][i % N] - means[c + i];
      means[c + i] += step * share;
      squares[c + i] += square[i / N][i % N] + step * step * share * static_cast<double>(before);
    }
  });
}

void add_products(
    const float* cotangents,
    const float* x,
    int64_t rows,
    int64_t channels,
    const float* means,
    double* sums,
    double* products) {
  each_strip(channels, [&]<int N, int M>(int64_t c) {
    using V = Vector<float, N>;
    const float* from = x + c;
    const float* given = cotangents + c;
    V mean[M];
    V sum[M];
    V product[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      mean[m] = load_as<V>(means + c + m * N);
    }
    sum_rows<N, M>(
        rows, sum, [&](int64_t row, int m) { return load_as<V>(given + row * channels + m * N); });
    sum_rows<N, M>(rows, product, [&](int64_t row, int m) {
      const int64_t at = row * channels + m * N;
      return load_as<V>(given + at) * (load_as<V>(from + at) - mean[m]);
    });
    for (int i = 0; i < M * N; ++i) {
      sums[c + i] += sum[i / N][i % N];
      products[c + i] += product[i / N][i % N];
    }
  });
}

// Calls f(element, channel) for the vectors of all rows, with their lanes.
template <typename F>
NARROWS_INLINE void each_vector(int64_t rows, int64_t channels, F&& f) {
  constexpr int N = kLanes<float>;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t c = 0;
    for (; c + N <= channels; c += N) {
      f.template operator()<N>(row * channels + c, c);
    }
    for (; c < channels; ++c) {
      f.template operator()<1>(row * channels + c, c);
    }
  }
}

void normalize(
    const float* x,
    int64_t rows,
    int64_t channels,
    const float* means,
    const float* scales,
    const float* biases,
    float* y) {
  each_vector(rows, channels, [&]<int N>(int64_t i, int64_t c) {
    using V = Vector<float, N>;
    const V distance = load_as<V>(x + i) - load_as<V>(means + c);
    store_lanes<N>(
        y + i, multiply_add<float, N>(distance, load_as<V>(scales + c), load_as<V>(biases + c)));
  });
}

void gradient(
    const float* cotangents,
    const float* x,
    int64_t rows,
    int64_t channels,
    const float* means,
    const float* scales,
    const float* slopes,
    const float* offsets,
    float* out) {
  each_vector(rows, channels, [&]<int N>(int64_t i, int64_t c) {
    using V = Vector<float, N>;
    const V distance = load_as<V>(x + i) - load_as<V>(means + c);
    const V rest =
        multiply_add<float, N>(distance, load_as<V>(slopes + c), load_as<V>(offsets + c));
    store_lanes<N>(
        out + i, multiply_add<float, N>(load_as<V>(cotangents + i), load_as<V>(scales + c), rest));
  });
}

} // namespace

BatchNormTile batch_norm_tile() {
  return {add_moments, normalize, add_products, gradient};
}

} // namespace narrows::cpu::NARROWS_ISA
