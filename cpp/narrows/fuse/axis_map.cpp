#include "narrows/fuse/axis_map.h"

namespace narrows {

using Kind = FusionRule::Kind;

uint32_t cover_of(const Shape& space) {
  uint32_t bits = 0;
  for (size_t d = 0; d < space.size(); ++d) {
    bits |= static_cast<uint32_t>(space[d] != 1) << d;
  }
  return bits;
}

AxisMap identity_map(const Shape& space) {
  AxisMap map;
  for (int d = 0; d < space.ndim(); ++d) {
    map.add(space[d] == 1 ? AxisMap::kNowhere : static_cast<int8_t>(d));
  }
  return map;
}

AxisMap map_of_result(const Shape& space, const Axes& axes, bool keeps_dims) {
  AxisMap map;
  for (int d = 0; d < space.ndim(); ++d) {
    const bool is_reduced = lists(axes, d);
    if (!is_reduced || keeps_dims) {
      map.add(is_reduced || space[d] == 1 ? AxisMap::kNowhere : static_cast<int8_t>(d));
    }
  }
  return map;
}

AxisMap map_of_input(const FusionRule& rule, const AxisMap& output, const Shape& shape) {
  AxisMap map;
  if (rule.kind == Kind::expand_dims) {
    for (int d = 0; d < output.ndim; ++d) {
      if (!lists(*rule.axes, d)) {
        map.add(output.to[d]);
      }
    }
    return map;
  }
  const int ndim = shape.ndim();
  if (rule.kind == Kind::squeeze) {
    for (int d = 0, from = 0; d < ndim; ++d) {
      map.add(lists(*rule.axes, d) ? AxisMap::kNowhere : output.to[from++]);
    }
    return map;
  }
  const int8_t* to = output.to + output.ndim - ndim;
  map.ndim = static_cast<uint8_t>(ndim);
  uint32_t cover = 0;
  for (int d = 0; d < ndim; ++d) {
    map.to[d] = shape[d] == 1 ? AxisMap::kNowhere : to[d];
    cover |= 1u << (map.to[d] & 31); // a dimension that lies nowhere gives a bit that is cut off
  }
  map.cover = static_cast<uint8_t>(cover);
  return map;
}

AxisMap map_of_reduced(
    const Shape& space, int row_dims, const Axes& axes, const AxisMap& output, const Shape& shape) {
  AxisMap map;
  const bool keeps = output.ndim == shape.size();
  int inside = row_dims;
  for (int d = 0, from = 0; d < shape.ndim(); ++d) {
    if (!lists(axes, d)) {
      map.add(output.to[from++]);
      continue;
    }
    from += keeps;
    if (shape[d] == 1) {
      map.add(AxisMap::kNowhere);
      continue;
    }
    while (space[inside] == 1) {
      ++inside;
    }
    map.add(static_cast<int8_t>(inside++));
  }
  return map;
}

} // namespace narrows
