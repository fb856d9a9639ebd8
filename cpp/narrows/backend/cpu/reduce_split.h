// How a reduced range is cut into pieces. Only sizes decide, so that results depend neither on
// threads nor on whether the reduction runs by itself or within a program.
#pragma once

#include <algorithm>
#include <cstdint>

#include "narrows/backend/cpu/kernels/reduce_tiles.h"

namespace narrows::cpu {

// The least number of elements for a thread.
inline constexpr int64_t kThreadElements = 1 << 15;
inline constexpr int64_t kPieceElements = 1 << 17;
inline constexpr int64_t kMaxPieces = 64;
// If there are fewer outputs than this, the reduced range is computed in pieces, which are merged.
inline constexpr int64_t kManyOutputs = kReduceTile;

inline int64_t reduce_pieces(int64_t out_size, int64_t reduce_size) {
  if (out_size * reduce_size <= kThreadElements || out_size >= kManyOutputs) {
    return 1;
  }
  const int64_t pieces = out_size * reduce_size / kPieceElements;
  return std::max<int64_t>(1, std::min({pieces, kMaxPieces, reduce_size}));
}

// The first element of piece `piece` of n elements.
inline int64_t piece_begin(int64_t n, int64_t piece, int64_t pieces) {
  return static_cast<int64_t>(static_cast<__int128>(n) * piece / pieces);
}

} // namespace narrows::cpu
