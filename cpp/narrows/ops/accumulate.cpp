#include "narrows/ops/accumulate.h"

#include <string_view>

#include "narrows/ops/elementwise.h"
#include "narrows/ops/recorded_as.h"

namespace narrows {
namespace {

// Operations that add to their first input, which may be any array.
bool adds_to_first(std::string_view name) {
  return name == "scatter_add" || name == "scatter_axis_add" || name == "strided_add";
}

// The same for what was recorded as one of these operations with zeros.
array with_additions(const array& sum, const array& part, StreamOrDevice s) {
  RecordedAs recorded = recorded_as(part);
  if (!recorded.primitive || !adds_to_first(recorded.primitive->name()) ||
      !is_recorded_as_zeros(recorded.inputs[0])) {
    return {};
  }
  const array outputs[] = {part};
  recorded.inputs[0] = sum;
  return Recorded{recorded.primitive, recorded.inputs, outputs, s.stream()}.again(
      recorded.inputs)[0];
}

} // namespace

array accumulated(const array& sum, const array& cotangent, StreamOrDevice s) {
  if (sum.dtype() == cotangent.dtype() && sum.shape() == cotangent.shape()) {
    for (const auto& [whole, part] : {std::pair(sum, cotangent), std::pair(cotangent, sum)}) {
      if (array result = with_slice_added(whole, part, s)) {
        return result;
      }
      if (array result = with_additions(whole, part, s)) {
        return result;
      }
    }
  }
  return add(sum, cotangent, s);
}

} // namespace narrows
