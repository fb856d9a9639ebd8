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
  map.ndim = static_cast<uint8_t>(space.size());
  for (int d = 0; d < space.ndim(); ++d) {
    map.to[d] = space[d] == 1 ? AxisMap::kNowhere : static_cast<int8_t>(d);
  }
  return map;
}

AxisMap map_of_result(const Shape& space, const Axes& axes, bool keeps_dims) {
  const AxisMap whole = identity_map(space);
  AxisMap map;
  for (int d = 0; d < space.ndim(); ++d) {
    if (!lists(axes, d)) {
      map.to[map.ndim++] = whole.to[d];
    } else if (keeps_dims) {
      map.to[map.ndim++] = AxisMap::kNowhere;
    }
  }
  return map;
}

AxisMap map_of_input(const FusionRule& rule, const AxisMap& output, const Shape& shape) {
  AxisMap map;
  if (rule.kind == Kind::expand_dims) {
    for (int d = 0; d < output.ndim; ++d) {
      if (!lists(*rule.axes, d)) {
        map.to[map.ndim++] = output.to[d];
      }
    }
    return map;
  }
  map.ndim = static_cast<uint8_t>(shape.size());
  if (rule.kind == Kind::squeeze) {
    for (int d = 0, from = 0; d < map.ndim; ++d) {
      map.to[d] = lists(*rule.axes, d) ? AxisMap::kNowhere : output.to[from++];
    }
    return map;
  }
  const int added = output.ndim - map.ndim;
  for (int d = 0; d < map.ndim; ++d) {
    map.to[d] = shape[d] == 1 ? AxisMap::kNowhere : output.to[d + added];
  }
  return map;
}

AxisMap map_of_reduced(
    const Shape& space, int row_dims, const Axes& axes, const AxisMap& output, const Shape& shape) {
  AxisMap map;
  map.ndim = static_cast<uint8_t>(shape.size());
  const bool keeps = output.ndim == map.ndim;
  int inside = row_dims;
  for (int d = 0, from = 0; d < map.ndim; ++d) {
    if (!lists(axes, d)) {
      map.to[d] = output.to[from++];
      continue;
    }
    from += keeps;
    map.to[d] = AxisMap::kNowhere;
    if (shape[d] != 1) {
      while (space[inside] == 1) {
        ++inside;
      }
      map.to[d] = static_cast<int8_t>(inside++);
    }
  }
  return map;
}

} // namespace narrows
