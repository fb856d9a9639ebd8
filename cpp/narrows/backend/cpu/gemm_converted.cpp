#include <algorithm>

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/backend/cpu/gemm_parts.h"
#include "narrows/core/half.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The edge of the blocks. They are large enough that conversion costs little compared with
// multiplication, and small enough that three blocks (12 MiB) are a small part of a process's
// memory.
constexpr int64_t kBlock = 1024;
constexpr int64_t kConvertGrain = 16 * 1024;

struct Blocks {
  int64_t m, n, k;
};

Blocks blocks_of(const GemmShape& s) {
  return {std::min(s.m, kBlock), std::min(s.n, kBlock), std::min(s.k, kBlock)};
}

// Calls f(row) for all rows, on several threads if there are many elements.
template <typename F>
void for_rows(int64_t rows, int64_t columns, F&& f) {
  const int64_t grain = std::max<int64_t>(1, kConvertGrain / std::max<int64_t>(1, columns));
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      f(row);
    }
  });
}

template <typename T>
void widen(const T* from, int64_t ld, int64_t rows, int64_t columns, float* to) {
  for_rows(rows, columns, [&](int64_t row) {
    for (int64_t i = 0; i < columns; ++i) {
      to[row * columns + i] = static_cast<float>(from[row * ld + i]);
    }
  });
}

template <typename T>
void store(
    const float* sums, int64_t rows, int64_t columns, float alpha, float beta, T* c, int64_t ldc) {
  for_rows(rows, columns, [&](int64_t row) {
    T* out = c + row * ldc;
    for (int64_t i = 0; i < columns; ++i) {
      const float value = alpha * sums[row * columns + i];
      out[i] = T(beta == 0 ? value : value + beta * static_cast<float>(out[i]));
    }
  });
}

// The block of op(x) at (row, column), in the layout of x.
template <typename T>
void widen_block(
    const T* x,
    int64_t ld,
    bool transpose,
    int64_t row,
    int64_t column,
    int64_t rows,
    int64_t columns,
    float* to) {
  if (transpose) {
    widen(x + column * ld + row, ld, columns, rows, to);
  } else {
    widen(x + row * ld + column, ld, rows, columns, to);
  }
}

template <typename T>
void multiply(
    const GemmShape& s, float alpha, const T* a, const T* b, float beta, T* c, float* workspace) {
  const Blocks block = blocks_of(s);
  float* a_block = workspace;
  float* b_block = a_block + block.m * block.k;
  float* sums = b_block + block.k * block.n;
  for (int64_t i = 0; i < s.m; i += block.m) {
    const int64_t m = std::min(block.m, s.m - i);
    for (int64_t j = 0; j < s.n; j += block.n) {
      const int64_t n = std::min(block.n, s.n - j);
      for (int64_t p = 0; p < s.k; p += block.k) {
        const int64_t k = std::min(block.k, s.k - p);
        widen_block(a, s.lda, s.transpose_a, i, p, m, k, a_block);
        widen_block(b, s.ldb, s.transpose_b, p, j, k, n, b_block);
        const GemmShape part{
            m, n, k, s.transpose_a, s.transpose_b, s.transpose_a ? m : k, s.transpose_b ? k : n, n};
        multiply_in_parts(Dtype::float32, part, 1, a_block, b_block, p == 0 ? 0.0f : 1.0f, sums);
      }
      store(sums, m, n, alpha, beta, c + i * s.ldc + j, s.ldc);
    }
  }
}

} // namespace

int64_t converted_gemm_workspace(const GemmShape& s) {
  const Blocks block = blocks_of(s);
  return static_cast<int64_t>(sizeof(float)) *
         (block.m * block.k + block.k * block.n + block.m * block.n);
}

void converted_gemm(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c,
    void* workspace) {
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    multiply(
        shape,
        alpha,
        static_cast<const T*>(a),
        static_cast<const T*>(b),
        beta,
        static_cast<T*>(c),
        static_cast<float*>(workspace));
  };
  dtype == Dtype::float16 ? run(float16_t{}) : run(bfloat16_t{});
}

} // namespace narrows::cpu
