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

// A product of float32, float64 or complex64 whose output is cut into rectangles, one for each
// thread; m, n, k are positive.
void multiply_in_parts(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c);

} // namespace narrows::cpu
