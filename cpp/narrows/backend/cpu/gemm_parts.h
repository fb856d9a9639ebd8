// Products cut into parts. OpenBLAS multiplies each part on one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "narrows/backend/cpu/gemm.h"

namespace narrows::cpu {

// The least number of multiply-adds for a thread. Those of vector products wait for memory and take
// longer.
constexpr double kMatrixGrain = 64.0 * 64 * 64;
constexpr double kVectorGrain = 32.0 * 1024;

// Multiply-adds. A double, because the product of three dimensions may exceed int64.
inline double work(const GemmShape& s) {
  return static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

inline bool is_vector_product(const GemmShape& s) {
  return s.m == 1 || s.n == 1;
}

inline const void* at(const void* base, Dtype dtype, int64_t index) {
  return static_cast<const std::byte*>(base) + index * size_of(dtype);
}

inline void* at(void* base, Dtype dtype, int64_t index) {
  return static_cast<std::byte*>(base) + index * size_of(dtype);
}

struct Range {
  int64_t begin;
  int64_t end;
};

// Part `index` of `parts` of [0, n), cut at whole tiles of the library's kernels.
inline Range part_of(int64_t n, int64_t parts, int64_t index) {
  constexpr int64_t kTile = 16;
  const int64_t tiles = (n + kTile - 1) / kTile;
  return {
      std::min(n, tiles * index / parts * kTile), std::min(n, tiles * (index + 1) / parts * kTile)};
}

// The rectangles that an output is cut into, one for each of `threads` threads at most: as square
// as possible, because each reads its rows of a and its columns of b.
struct Grid {
  int64_t rows = 1;
  int64_t columns = 1;

  int64_t count() const {
    return rows * columns;
  }
};
Grid grid_of(const GemmShape& shape, int threads);

// A rectangle as a product, and where its first elements are. It may be empty.
struct Part {
  GemmShape shape;
  int64_t a;
  int64_t b;
  int64_t c;
};
Part part_of(const GemmShape& shape, const Grid& grid, int64_t index);

// A product of float32, float64 or complex64 in parts, each by OpenBLAS on one thread; m, n, k are
// positive.
void multiply_in_parts(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c);

} // namespace narrows::cpu
