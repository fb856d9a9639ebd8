// Whether a node's result is a value of each element, or of each row, of a group's space.
#pragma once

#include "narrows/fuse/groups.h"

namespace narrows {

struct ShapeFit {
  int row_dims;         // of the group, with the node
  Shape added;          // dimensions that the space gains
  bool spreads = false; // the elements of rows read the node's result, one for each row
};

// Whether a program may reduce rows of so many elements. A device that keeps no rows has one group
// of threads for each.
bool may_reduce(const ProgramLimits& limits, int64_t length);

// Finds how a node fits a group. False if it does not. `cover`: the dimensions that the node's
// result varies along; `read_along`: those that its readers cover.
bool fits(
    const FusionGroup& group,
    uint32_t cover,
    uint32_t read_along,
    Node& node,
    const FusionRule& rule,
    ShapeFit& fit);

} // namespace narrows
