// Sums of products in Einstein's notation.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// "ij,jk->ik": a letter for each dimension of each operand, "..." for any that broadcast. Letters
// that are not on the right are summed over; without "->" the right has "..." and, sorted, what
// comes once. Dimensions of a letter have one size, or 1. ValueError for anything else. Operands
// are contracted two at a time, each time those that cost least.
array einsum(
    const std::string& subscripts, const std::vector<array>& operands, StreamOrDevice s = {});

// Which operands are contracted, one step after the other: they leave the list, and the result is
// put at its end.
struct EinsumPath {
  std::vector<std::vector<int>> steps;
  std::string text; // what it costs, in words
};
EinsumPath einsum_path(const std::string& subscripts, const std::vector<array>& operands);

} // namespace narrows
