// AxisMap: how the dimensions of an array lie in the space that a fused step runs over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "narrows/core/shape.h"
#include "narrows/record/primitive.h"

namespace narrows {

inline constexpr int kMostFusedDims = 8;

// The dimension of a group's space that each dimension of a value lies along. Dimensions of size 1
// lie along none.
struct AxisMap {
  static constexpr int8_t kNowhere = -1;

  uint8_t ndim = 0;
  uint8_t cover = 0; // the dimensions of the space that the value varies along, as bits
  int8_t to[kMostFusedDims];

  bool operator==(const AxisMap& other) const {
    return ndim == other.ndim && std::memcmp(to, other.to, ndim) == 0;
  }
  // Appends a dimension of the value that lies along that one of the space.
  void add(int8_t place) {
    to[ndim++] = place;
    cover |= static_cast<uint8_t>(place == kNowhere ? 0 : 1u << place);
  }
};

// Whether the axes of an operation contain this one.
inline bool lists(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

// The dimensions of a space that have more than one element, as bits.
uint32_t cover_of(const Shape& space);

// The map of a value that has an element for each element of the space.
AxisMap identity_map(const Shape& space);

// The map of the result of a reduction over these axes of the space.
AxisMap map_of_result(const Shape& space, const Axes& axes, bool keeps_dims);

// The map of an input of an elementwise operation, or of a broadcast_to, expand_dims or squeeze,
// whose output has the map `map`.
AxisMap map_of_input(const FusionRule& rule, const AxisMap& output, const Shape& shape);

// The map of the input of a reduction whose output has this map, in a space whose rows have so many
// dimensions.
AxisMap map_of_reduced(
    const Shape& space, int row_dims, const Axes& axes, const AxisMap& output, const Shape& shape);

} // namespace narrows
