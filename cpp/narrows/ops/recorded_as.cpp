#include "narrows/ops/recorded_as.h"

#include <algorithm>
#include <mutex>

#include "narrows/walk/linearize.h"

namespace narrows {

RecordedAs recorded_as(const array& a) {
  RecordedAs result;
  const std::scoped_lock lock(graph_mutex());
  Node& node = *a.node();
  if (node.output_count() == 1 && node.primitive_ref()) {
    result.primitive = node.primitive_ref();
    result.inputs.assign(node.inputs(), node.inputs() + node.input_count());
  }
  return result;
}

bool is_recorded_as_zeros(const array& a) {
  const RecordedAs recorded = recorded_as(a);
  if (!recorded.primitive || !recorded.inputs.empty()) {
    return false;
  }
  const FusionRule rule = recorded.primitive->fusion();
  if (rule.kind != FusionRule::Kind::constant) {
    return false;
  }
  const auto* bytes = static_cast<const std::byte*>(rule.data);
  return std::all_of(
      bytes, bytes + a.itemsize(), [](std::byte value) { return value == std::byte{0}; });
}

} // namespace narrows
