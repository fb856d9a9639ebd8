#include "narrows/backend/cpu/gemm_parts.h"

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The least width and height of rectangles.
constexpr int64_t kLeastEdge = 16;

struct Grid {
  int64_t rows = 1;
  int64_t columns = 1;
};

// Cuts an m by n output into `parts` rectangles that are as square as possible. Each part reads its
// rows of a and its columns of b, and square parts read least.
Grid grid_of(const GemmShape& s, int64_t parts) {
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

} // namespace

void multiply_in_parts(
    Dtype dtype,
    const GemmShape& s,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c) {
  const double grain = is_vector_product(s) ? kVectorGrain : kMatrixGrain;
  const double most = std::max(1.0, work(s) / grain);
  const int64_t parts = static_cast<int64_t>(std::min<double>(thread_count(), most));
  const Grid grid = grid_of(s, parts);
  parallel_for(grid.rows * grid.columns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const Range rows = part_of(s.m, grid.rows, part / grid.columns);
      const Range columns = part_of(s.n, grid.columns, part % grid.columns);
      GemmShape piece = s;
      piece.m = rows.end - rows.begin;
      piece.n = columns.end - columns.begin;
      if (piece.m > 0 && piece.n > 0) {
        openblas::multiply(
            dtype,
            piece,
            alpha,
            at(a, dtype, s.transpose_a ? rows.begin : rows.begin * s.lda),
            at(b, dtype, s.transpose_b ? columns.begin * s.ldb : columns.begin),
            beta,
            at(c, dtype, rows.begin * s.ldc + columns.begin));
      }
    }
  });
}

} // namespace narrows::cpu
