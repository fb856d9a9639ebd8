// einsum: sums of products in Einstein's notation.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// "ij,jk->ik": a letter for each dimension of each operand, and "..." for any number of dimensions
// that broadcast. Letters that are not on the right are summed over. Without "->", the right side
// is "..." and, sorted, the letters that occur once. All dimensions of a letter have one size, or
// 1. ValueError for anything else. Operands are contracted two at a time, the cheapest pair first.
array einsum(
    const std::string& subscripts, const std::vector<array>& operands, StreamOrDevice s = {});

// Which operands are contracted in each step. They are removed from the list, and the result is
// appended.
struct EinsumPath {
  std::vector<std::vector<int>> steps;
  std::string text; // the cost, in words
};
EinsumPath einsum_path(const std::string& subscripts, const std::vector<array>& operands);

} // namespace narrows
