#include "narrows/fuse/shape_fit.h"

#include "narrows/fuse/members.h"

namespace narrows {

bool may_reduce(const ProgramLimits& limits, int64_t length) {
  return limits.row_bytes > 0 || length <= kLongestRow;
}

namespace {

using Kind = FusionRule::Kind;

uint32_t below(int dims) {
  return (1u << dims) - 1;
}

int64_t length_from(const FusionGroup& group, int row_dims) {
  int64_t length = 1;
  for (int d = row_dims; d < group.space.ndim(); ++d) {
    length *= group.space[d];
  }
  return length;
}

// The sizes of the dimensions that are reduced, if they come last.
bool reduced_sizes(const Shape& shape, const Axes& axes, Shape& sizes) {
  for (int d = 0; d < shape.ndim(); ++d) {
    if (lists(axes, d)) {
      if (shape[d] != 1) {
        sizes.push_back(shape[d]);
      }
    } else if (shape[d] != 1 && !sizes.empty()) {
      return false;
    }
  }
  return !sizes.empty() && shape.ndim() <= kMostFusedDims && element_count(sizes) > 0;
}

// Reduces rows that have one element so far: they get the reduced dimensions.
bool extend(const FusionGroup& group, Node& node, const Axes& axes, ShapeFit& fit) {
  fit.row_dims = group.space.ndim();
  return reduced_sizes(node.inputs()[0].shape(), axes, fit.added) &&
         may_reduce(*group.limits, element_count(fit.added)) &&
         group.space.size() + fit.added.size() <= kMostFusedDims;
}

// Reduces over all elements of rows.
bool reduces_rows(const FusionGroup& group, Node& node, const Axes& axes, int row_dims) {
  Shape sizes;
  Shape of_rows;
  for (int d = row_dims; d < group.space.ndim(); ++d) {
    if (group.space[d] != 1) {
      of_rows.push_back(group.space[d]);
    }
  }
  return reduced_sizes(node.inputs()[0].shape(), axes, sizes) && sizes == of_rows;
}

} // namespace

bool fits(
    const FusionGroup& group,
    uint32_t cover,
    uint32_t read_along,
    Node& node,
    const FusionRule& rule,
    ShapeFit& fit) {
  fit.row_dims = group.row_dims;
  if (is_generated(rule.kind)) {
    return true;
  }
  const uint32_t all = cover_of(group.space);
  if (node.output(0).shape.ndim() > kMostFusedDims ||
      (rule.kind == Kind::squeeze && node.inputs()[0].ndim() > kMostFusedDims)) {
    return false;
  }
  if (rule.kind == Kind::reduce && fit.row_dims < 0 && cover == all) {
    return extend(group, node, *rule.axes, fit);
  }
  if (cover != all && fit.row_dims < 0) {
    // A value of each row that all elements of the row read.
    if (is_seen_through(rule.kind) && !may_join(node.inputs()[0])) {
      return false;
    }
    fit.row_dims = cover ? 32 - __builtin_clz(cover) : 0;
    if ((!cover && __builtin_popcount(all) > 1) || length_from(group, fit.row_dims) > kLongestRow) {
      return false;
    }
  }
  const uint32_t rows = fit.row_dims < 0 ? all : all & below(fit.row_dims);
  const bool of_row = cover == rows && fit.row_dims >= 0;
  if (cover != all && !of_row) {
    return false;
  }
  fit.spreads = of_row && (read_along & ~rows) != 0;
  if (fit.spreads && length_from(group, fit.row_dims) > kLongestRow) {
    return false;
  }
  return rule.kind != Kind::reduce ||
         (of_row && reduces_rows(group, node, *rule.axes, fit.row_dims));
}

} // namespace narrows
