#include "narrows/backend/cpu/gemm_parts.h"

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The least width and height of rectangles.
constexpr int64_t kLeastEdge = 16;

// How many threads a product is worth.
int64_t part_count(const GemmShape& s, int threads) {
  const double grain = is_vector_product(s) ? kVectorGrain : kMatrixGrain;
  return static_cast<int64_t>(std::min<double>(threads, std::max(1.0, work(s) / grain)));
}

} // namespace

Grid grid_of(const GemmShape& s, int threads) {
  const int64_t parts = part_count(s, threads);
  Grid best;
  double least = 0;
  for (int64_t rows = parts; rows >= 1; --rows) {
    if (parts % rows != 0) {
      continue;
    }
    const int64_t columns = parts / rows;
    const double read = static_cast<double>(s.m) / static_cast<double>(rows) +
                        static_cast<double>(s.n) / static_cast<double>(columns);
    const bool too_fine =
        rows * kLeastEdge > s.m + kLeastEdge || columns * kLeastEdge > s.n + kLeastEdge;
    if (!too_fine && (least == 0 || read < least)) {
      best = {rows, columns};
      least = read;
    }
  }
  return best;
}

Part part_of(const GemmShape& s, const Grid& grid, int64_t index) {
  const Range rows = part_of(s.m, grid.rows, index / grid.columns);
  const Range columns = part_of(s.n, grid.columns, index % grid.columns);
  GemmShape shape = s;
  shape.m = rows.end - rows.begin;
  shape.n = columns.end - columns.begin;
  return {
      shape,
      s.transpose_a ? rows.begin : rows.begin * s.lda,
      s.transpose_b ? columns.begin * s.ldb : columns.begin,
      rows.begin * s.ldc + columns.begin};
}

void multiply_in_parts(
    Dtype dtype,
    const GemmShape& s,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c) {
  const Grid grid = grid_of(s, thread_count());
  parallel_for(grid.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Part part = part_of(s, grid, i);
      if (part.shape.m > 0 && part.shape.n > 0) {
        openblas::multiply(
            dtype,
            part.shape,
            alpha,
            at(a, dtype, part.a),
            at(b, dtype, part.b),
            beta,
            at(c, dtype, part.c));
      }
    }
  });
}

} // namespace narrows::cpu
