#include "narrows/backend/cpu/index_offsets.h"

#include <algorithm>

namespace narrows::cpu {
namespace {

// How one array of indices moves offsets.
struct Move {
  int64_t size;
  int64_t limit;
  int64_t step;
};

template <bool kClamp, typename Index>
void add_indices(const Index* indices, int64_t stride, Move move, int64_t count, int64_t* offsets) {
  for (int64_t j = 0; j < count; ++j) {
    int64_t i = static_cast<int64_t>(indices[j * stride]);
    i += i < 0 ? move.size : 0;
    if constexpr (kClamp) {
      i = std::max<int64_t>(std::min(i, move.limit), 0);
      offsets[j] += i * move.step;
    } else {
      const bool inside = (i >= 0) & (i <= move.limit);
      const int64_t moved = offsets[j] + (inside ? i : 0) * move.step;
      offsets[j] = inside && offsets[j] != kSkipped ? moved : kSkipped;
    }
  }
}

template <bool kClamp, typename Index>
void add_indices_at(
    const void* data, int64_t first, int64_t stride, Move move, int64_t count, int64_t* offsets) {
  const Index* indices = static_cast<const Index*>(data) + first;
  if (stride == 1) {
    add_indices<kClamp>(indices, 1, move, count, offsets);
  } else {
    add_indices<kClamp>(indices, stride, move, count, offsets);
  }
}

template <bool kClamp>
void add_indices_of(
    const Indices& indices,
    int k,
    int64_t first,
    int64_t stride,
    Move move,
    int64_t count,
    int64_t* offsets) {
  const auto add = indices.dtype == int32    ? add_indices_at<kClamp, int32_t>
                   : indices.dtype == uint32 ? add_indices_at<kClamp, uint32_t>
                                             : add_indices_at<kClamp, int64_t>;
  add(indices.data[k], first, stride, move, count, offsets);
}

void find(
    const IndexedParams& p,
    const Indices& indices,
    int d,
    const int64_t* steps,
    const IndexPlace& place,
    int64_t count,
    int64_t* offsets) {
  for (int k = 0; k < p.indices; ++k) {
    const Move move{p.sizes[k], p.limits[k], steps[k]};
    const auto add = p.clamp != 0 ? add_indices_of<true> : add_indices_of<false>;
    add(indices, k, place[k], p.index_strides[k][d], move, count, offsets);
  }
}

} // namespace

void find_offsets(
    const IndexedParams& p,
    const Indices& indices,
    int d,
    int64_t offset,
    const IndexPlace& place,
    int64_t count,
    int64_t* offsets) {
  for (int64_t j = 0; j < count; ++j) {
    offsets[j] = offset + j * p.array_strides[d];
  }
  find(p, indices, d, p.steps, place, count, offsets);
}

void find_rows(
    const IndexedParams& p,
    const Indices& indices,
    int d,
    int64_t row,
    const IndexPlace& place,
    int64_t count,
    int64_t* rows) {
  for (int64_t j = 0; j < count; ++j) {
    rows[j] = row + j * p.row_pitches[d];
  }
  find(p, indices, d, p.pitches, place, count, rows);
}

} // namespace narrows::cpu
