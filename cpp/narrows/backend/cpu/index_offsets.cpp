#include "narrows/backend/cpu/index_offsets.h"

#include <algorithm>

namespace narrows::cpu {
namespace {

// How one index array moves offsets, and where they begin if it is the first one.
struct Move {
  int64_t index_stride;
  int64_t size;
  int64_t limit;
  int64_t step;
  int64_t offset;
  int64_t stride;
};

// Returns whether no position is skipped.
template <bool kClamp, bool kFirst, typename Index>
bool follow(const Index* indices, const Move& move, int64_t count, int64_t* offsets) {
  const Move m = move;
  bool all_inside = true;
  for (int64_t j = 0; j < count; ++j) {
    int64_t i = static_cast<int64_t>(indices[j * m.index_stride]);
    i += i < 0 ? m.size : 0;
    const int64_t before = kFirst ? m.offset + j * m.stride : offsets[j];
    if constexpr (kClamp) {
      i = std::max<int64_t>(std::min(i, m.limit), 0);
      offsets[j] = before + i * m.step;
    } else {
      const bool inside = (i >= 0) & (i <= m.limit) & (before != kSkipped);
      offsets[j] = inside ? before + i * m.step : kSkipped;
      all_inside &= inside;
    }
  }
  return all_inside;
}

// With the common values of the parameters known to the compiler.
template <bool kClamp, bool kFirst, typename Index>
bool follow_at(const void* data, int64_t first, Move move, int64_t count, int64_t* offsets) {
  const Index* indices = static_cast<const Index*>(data) + first;
  if (kFirst && move.index_stride == 1 && move.stride == 0) {
    move.index_stride = 1;
    move.stride = 0;
    if (move.step == 1) {
      move.step = 1;
      return follow<kClamp, kFirst>(indices, move, count, offsets);
    }
    return follow<kClamp, kFirst>(indices, move, count, offsets);
  }
  return follow<kClamp, kFirst>(indices, move, count, offsets);
}

template <bool kClamp, bool kFirst>
bool follow_indices(
    const Indices& indices,
    int k,
    int64_t first,
    const Move& move,
    int64_t count,
    int64_t* offsets) {
  const auto run = indices.dtype == int32    ? follow_at<kClamp, kFirst, int32_t>
                   : indices.dtype == uint32 ? follow_at<kClamp, kFirst, uint32_t>
                                             : follow_at<kClamp, kFirst, int64_t>;
  return run(indices.data[k], first, move, count, offsets);
}

} // namespace

bool find_offsets(
    const IndexedParams& p,
    const Indices& indices,
    int d,
    int64_t offset,
    const IndexPlace& place,
    int64_t count,
    int64_t* offsets) {
  bool all_inside = true;
  for (int k = 0; k < p.indices; ++k) {
    const Move move{
        p.index_strides[k][d], p.sizes[k], p.limits[k], p.steps[k], offset, p.array_strides[d]};
    const bool first = k == 0;
    const auto run = p.clamp != 0
                         ? (first ? follow_indices<true, true> : follow_indices<true, false>)
                         : (first ? follow_indices<false, true> : follow_indices<false, false>);
    all_inside &= run(indices, k, place[k], move, count, offsets);
  }
  return all_inside;
}

} // namespace narrows::cpu
