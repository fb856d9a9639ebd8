// Small matrix products in registers, for kernels that compute in blocks which lie in caches.
#pragma once

#include "narrows/backend/cpu/kernels/lanes.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

template <typename T, int N>
NARROWS_INLINE Vector<T, N> multiply_add(Vector<T, N> a, Vector<T, N> b, Vector<T, N> c) {
  using V [[maybe_unused]] = Vector<T, N>;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16) {
    return bits_as<V>(_mm512_fmadd_ps(bits_as<__m512>(a), bits_as<__m512>(b), bits_as<__m512>(c)));
  }
  if constexpr (std::is_same_v<T, double> && N == 8) {
    return bits_as<V>(
        _mm512_fmadd_pd(bits_as<__m512d>(a), bits_as<__m512d>(b), bits_as<__m512d>(c)));
  }
#endif
#if defined(__FMA__)
  if constexpr (std::is_same_v<T, float> && N == 8) {
    return bits_as<V>(_mm256_fmadd_ps(bits_as<__m256>(a), bits_as<__m256>(b), bits_as<__m256>(c)));
  }
  if constexpr (std::is_same_v<T, float> && N == 4) {
    return bits_as<V>(_mm_fmadd_ps(bits_as<__m128>(a), bits_as<__m128>(b), bits_as<__m128>(c)));
  }
  if constexpr (std::is_same_v<T, double> && N == 4) {
    return bits_as<V>(
        _mm256_fmadd_pd(bits_as<__m256d>(a), bits_as<__m256d>(b), bits_as<__m256d>(c)));
  }
#endif
  return a * b + c;
}

// The left factor: element (i, k) is data[i * row + k * column].
template <typename T>
struct LeftFactor {
  const T* data;
  int64_t row;
  int64_t column;
};

// A tile of `M` rows and `V` vectors of the result: all its sums are in registers.
template <typename T, int N, int M, int V>
void product_tile(
    LeftFactor<T> a, int64_t depth, const T* b, int64_t b_row, T* c, int64_t c_row, bool adds) {
  Vector<T, N> sums[M][V];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      sums[i][j] = adds ? load_as<Vector<T, N>>(c + i * c_row + j * N) : Vector<T, N>{};
    }
  }
  const T* left = a.data;
  const T* middle = a.data + M / 2 * a.row;
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k) {
    Vector<T, N> right[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      right[j] = load_as<Vector<T, N>>(b + j * N);
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      const T* from = i < M / 2 ? left + i * a.row : middle + (i - M / 2) * a.row;
      const Vector<T, N> factor = splat<T, N>(*from);
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) {
        sums[i][j] = multiply_add<T, N>(factor, right[j], sums[i][j]);
      }
    }
    left += a.column;
    middle += a.column;
    b += b_row;
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      store_lanes<N>(c + i * c_row + j * N, sums[i][j]);
    }
  }
}

// Rows of a tile of `V` vectors: as many as registers hold beside a row of the right factor.
template <int V>
constexpr int kTileRows = kVectorBytes == 64 ? (V == 4 ? 6 : 8)
                                             : (V == 1   ? 8
                                                : V == 2 ? 6
                                                         : 2);
constexpr int kTileVectors = kVectorBytes == 64 ? 4 : 2;

template <typename T, int N, int V>
void product_columns(
    LeftFactor<T> a,
    int64_t rows,
    int64_t depth,
    const T* b,
    int64_t b_row,
    T* c,
    int64_t c_row,
    bool adds) {
  const auto tiles = [&]<int M>(std::integral_constant<int, M>) {
    for (; rows >= M; rows -= M) {
      product_tile<T, N, M, V>(a, depth, b, b_row, c, c_row, adds);
      a.data += M * a.row;
      c += M * c_row;
    }
  };
  tiles(std::integral_constant<int, kTileRows<V>>());
  if constexpr (kTileRows < V >> 4) {
    tiles(std::integral_constant<int, 4>());
  }
  if constexpr (kTileRows < V >> 2) {
    tiles(std::integral_constant<int, 2>());
  }
  tiles(std::integral_constant<int, 1>());
}

// c = a @ b, or c += a @ b, where `a` has `rows` rows and `depth` columns; `b` and `c` are
// row-major with `vectors` vectors of N columns.
template <typename T, int N>
void small_product(
    LeftFactor<T> a,
    int64_t rows,
    int64_t depth,
    const T* b,
    int64_t b_row,
    int64_t vectors,
    T* c,
    int64_t c_row,
    bool adds) {
  while (vectors > 0) {
    int64_t taken = 1;
    if (vectors >= kTileVectors) {
      taken = kTileVectors;
      product_columns<T, N, kTileVectors>(a, rows, depth, b, b_row, c, c_row, adds);
    } else if (kTileVectors > 2 && vectors >= 2) {
      taken = 2;
      product_columns<T, N, 2>(a, rows, depth, b, b_row, c, c_row, adds);
    } else {
      product_columns<T, N, 1>(a, rows, depth, b, b_row, c, c_row, adds);
    }
    vectors -= taken;
    b += taken * N;
    c += taken * N;
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
