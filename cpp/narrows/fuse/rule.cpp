#include "narrows/fuse/rule.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace narrows {
namespace {

std::atomic<bool>& process_fusion() {
  static std::atomic<bool> on = [] {
    const char* text = std::getenv("NARROWS_FUSION");
    return !text || std::string_view(text) != "0";
  }();
  return on;
}

thread_local int8_t scoped_fusion = -1; // -1: none

using Kind = FusionRule::Kind;

} // namespace

bool fusion_enabled() {
  return scoped_fusion >= 0 ? scoped_fusion == 1 : process_fusion().load();
}

bool set_fusion(bool on) {
  return process_fusion().exchange(on);
}

FusionScope::FusionScope(bool on) : previous_(std::exchange(scoped_fusion, on ? 1 : 0)) {
}

FusionScope::~FusionScope() {
  scoped_fusion = previous_;
}

bool AxisMap::operator==(const AxisMap& other) const {
  return ndim == other.ndim && std::memcmp(to, other.to, ndim) == 0;
}

uint32_t AxisMap::cover() const {
  uint32_t bits = 0;
  for (int d = 0; d < ndim; ++d) {
    bits |= to[d] == kNowhere ? 0 : 1u << to[d];
  }
  return bits;
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
    const FusionGroup& group, const Axes& axes, const AxisMap& output, const Shape& shape) {
  AxisMap map;
  map.ndim = static_cast<uint8_t>(shape.size());
  const bool keeps = output.ndim == map.ndim;
  int inside = group.row_dims;
  for (int d = 0, from = 0; d < map.ndim; ++d) {
    if (!lists(axes, d)) {
      map.to[d] = output.to[from++];
      continue;
    }
    from += keeps;
    map.to[d] = AxisMap::kNowhere;
    if (shape[d] != 1) {
      while (group.space[inside] == 1) {
        ++inside;
      }
      map.to[d] = static_cast<int8_t>(inside++);
    }
  }
  return map;
}

} // namespace narrows
