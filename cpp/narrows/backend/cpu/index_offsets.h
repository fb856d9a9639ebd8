// From index arrays to offsets of elements, for gather and scatter.
#pragma once

#include <array>
#include <cstdint>

#include "metal_kernels/indexed.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu {

// Offsets are computed for so many positions at a time, which stay in the first-level cache.
inline constexpr int64_t kOffsetsAtOnce = 256;

// Instead of an offset: the position is skipped.
inline constexpr int64_t kSkipped = INT64_MIN;

// The index arrays of a call.
struct Indices {
  std::array<const void*, NARROWS_MAX_INDICES> data;
  Dtype dtype;
};

// Where a run of positions along one dimension begins in each index array.
using IndexPlace = std::array<int64_t, NARROWS_MAX_INDICES>;

// Writes the offsets in the indexed array of `count` positions along dimension `d`. The first one
// is at `offset` and `place`. Skipped positions get kSkipped. Returns whether no position is
// skipped.
bool find_offsets(
    const IndexedParams& p,
    const Indices& indices,
    int d,
    int64_t offset,
    const IndexPlace& place,
    int64_t count,
    int64_t* offsets);

} // namespace narrows::cpu
