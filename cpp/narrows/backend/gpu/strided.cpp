#include "narrows/backend/gpu/strided.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

// A thread takes as many neighbours as have 16 bytes, but no more than this, as in elements.h.
constexpr int64_t kLongestRun = 8;
// With more threads than this, each takes two rows: finding the first one takes longer than a row.
constexpr int64_t kEnoughThreads = int64_t{1} << 18;
constexpr int64_t kMostRows = 2;
// Rows of fewer runs are not cut at the output's packs, because more threads would be idle.
constexpr int64_t kShortRow = 4;
constexpr int64_t kMostThreads = std::numeric_limits<uint32_t>::max();

struct Tile {
  int dimension; // the dimension along which some input is contiguous; -1: none
  int shift;     // 1 << shift threads along it, of a simdgroup
};

// If an input is contiguous along another dimension than the output, a simdgroup takes a tile of
// both dimensions. It then uses all memory that it touches in either.
Tile tile_of(const ElementwiseParams& p, int64_t item_size) {
  const int last = p.ndim - 1;
  const int shift = item_size >= 8 ? 2 : item_size == 4 ? 3 : 4;
  if (last < 1 || p.strides[p.inputs][last] != 1) {
    return {-1, 0};
  }
  for (int k = 0; k < p.inputs; ++k) {
    const bool apart = std::abs(p.strides[k][last]) > 1;
    for (int d = 0; d < last && apart; ++d) {
      if (std::abs(p.strides[k][d]) == 1 && p.shape[d] >= int64_t{1} << shift) {
        return {d, shift};
      }
    }
  }
  return {-1, 0};
}

// The dimensions: first that of runs, then that of rows, then the others up to the slowest.
ElementwiseParams in_walking_order(const ElementwiseParams& p, int rows) {
  ElementwiseParams q{};
  std::fill(std::begin(q.shape), std::end(q.shape), 1);
  q.inputs = p.inputs;
  q.ndim = std::max(2, p.ndim);
  const auto put = [&](int at, int d) {
    q.shape[at] = p.shape[d];
    for (int k = 0; k <= p.inputs; ++k) {
      q.strides[k][at] = p.strides[k][d];
    }
  };
  int at = 0;
  for (int d = p.ndim - 1; d >= 0; --d) {
    if (d == rows) {
      continue;
    }
    put(at, d);
    at += at == 0 ? 2 : 1;
  }
  if (rows >= 0) {
    put(1, rows);
  }
  return q;
}

// Whether every row of the output begins with a pack of `run` elements.
bool has_aligned_rows(const ElementwiseParams& p, int64_t phase, int64_t run) {
  const int64_t* strides = p.strides[p.inputs];
  return phase % run == 0 && std::all_of(strides + 1, strides + p.ndim, [&](int64_t stride) {
           return stride % run == 0;
         });
}

void set_operands(StridedParams& q, const ElementwiseParams& p, std::span<const int64_t> phases) {
  for (int k = 0; k <= p.inputs; ++k) {
    std::copy_n(p.strides[k], p.ndim, q.strides[k]);
    q.row_steps[k] = q.row_step * p.strides[k][1];
    q.phases[k] = static_cast<int32_t>(phases[k]);
    q.ends[k] = 1;
    for (int d = 0; d < p.ndim; ++d) {
      const int64_t along = (p.shape[d] - 1) * p.strides[k][d];
      (along < 0 ? q.begins[k] : q.ends[k]) += along;
    }
  }
}

} // namespace

StridedParams strided_params(
    const ElementwiseParams& p, std::span<const int64_t> phases, int64_t item_size) {
  const Tile tile = tile_of(p, item_size);
  const ElementwiseParams w =
      in_walking_order(p, tile.dimension >= 0 ? tile.dimension : p.ndim - 2);
  StridedParams q{};
  q.ndim = w.ndim;
  q.tile_shift = tile.shift;
  std::copy_n(w.shape, 2, q.shape);
  const int64_t run = std::min(kLongestRun, 16 / item_size);
  const bool cut = w.strides[w.inputs][0] == 1 && w.shape[0] >= kShortRow * run &&
                   !has_aligned_rows(w, phases[w.inputs], run);
  q.align_mask = cut ? static_cast<int32_t>(run - 1) : 0;
  const int64_t runs = divided_up(w.shape[0] + q.align_mask, run);

  // How the threads share the tiles of all rows.
  const int64_t tiles = divided_up(w.shape[1], int64_t{1} << tile.shift);
  const int64_t outer =
      std::accumulate(w.shape + 2, w.shape + w.ndim, int64_t{1}, std::multiplies<int64_t>());
  const int64_t threads = (runs * outer) << tile.shift;
  const int64_t wanted = std::min(threads * tiles / kEnoughThreads, kMostRows);
  const int64_t needed = divided_up(threads * tiles, kMostThreads);
  const int64_t blocks = divided_up(tiles, std::clamp<int64_t>(std::max(wanted, needed), 1, tiles));
  if (threads * blocks > kMostThreads) {
    fail<std::runtime_error>(
        "[gpu] ",
        threads * blocks,
        " threads for ",
        p.size,
        " elements, expected fewer than 2^32.");
  }
  q.threads = static_cast<uint32_t>(threads * blocks);
  q.row_step = blocks << tile.shift;
  int64_t pitch = 1;
  for (int d = 0; d < w.ndim; ++d) {
    q.pitches[d] = static_cast<uint32_t>(pitch);
    pitch *= d == 0 ? runs : d == 1 ? blocks : w.shape[d];
  }
  set_operands(q, w, phases);
  return q;
}

} // namespace narrows::gpu
