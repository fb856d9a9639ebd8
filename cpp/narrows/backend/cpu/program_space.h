// The space of a program, cut into tiles: dimensions are merged where all operands allow it, and
// tiles are boxes of rows.
#pragma once

#include <vector>

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

struct ProgramSpace {
  static constexpr int kMostDims = 8;
  using Lengths = SmallVector<int64_t, kMostDims>;

  int ndim = 0;
  int row_ndim = 0; // the dimensions of rows come first
  int64_t shape[kMostDims];
  std::vector<Lengths> strides; // by operand, the output last
  int64_t rows = 1;
  int64_t length = 1; // elements of a row

  // For each dimension of rows: the extent of a tile, and the number of tiles.
  int64_t box[kMostDims];
  int64_t boxes[kMostDims];
  int64_t box_rows = 1;
  int64_t box_count = 1;
  bool ragged = false; // boxes at an edge are not just shorter

  explicit ProgramSpace(const ProgramCall& call);

  // For tiles of about so many elements.
  void choose_boxes(int64_t elements);

  // Whether an operand is the same in all tiles.
  bool is_once(size_t operand) const;

 private:
  void add_dims(const ProgramCall& call, size_t first, size_t last, bool sorted);
  int transposed_dim() const;
};

} // namespace narrows::cpu
