// Whether a node's result is a value of each element, or of each row, of a group's space.
#pragma once

#include "narrows/fuse/groups.h"

namespace narrows {

struct ShapeFit {
  int row_dims;         // of the group with the node
  Shape added;          // dimensions that its space gets
  bool spreads = false; // the node's result, one for each row, is read by the row's elements
};

// False if it does not fit. `cover`: what the node's result varies along; `read_along`: what those
// that read it do.
bool fits(
    const FusionGroup& group,
    uint32_t cover,
    uint32_t read_along,
    Node& node,
    const FusionRule& rule,
    ShapeFit& fit);

} // namespace narrows
