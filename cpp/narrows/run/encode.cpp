#include "narrows/run/encode.h"

#include <array>
#include <cstring>

#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "narrows/core/kernel_families.h"
#include "narrows/run/walk_parts.h"

namespace narrows {
void encode_elementwise(
    Encoder& encoder,
    const KernelId& kernel,
    std::span<const ArrayView> inputs,
    const ArrayView& output) {
  if (output.size() == 0) {
    return;
  }
  std::array<Operand, NARROWS_MAX_OPERANDS> operands;
  std::array<const Strides*, NARROWS_MAX_OPERANDS> strides;
  std::array<int64_t, NARROWS_MAX_OPERANDS> item_sizes;
  const size_t count = inputs.size() + 1;
  for (size_t k = 0; k < count; ++k) {
    const ArrayView& view = k < inputs.size() ? inputs[k] : output;
    operands[k] = view.operand();
    strides[k] = &view.layout->strides;
    item_sizes[k] = size_of(view.dtype);
  }
  ElementwiseParams params{}; // zero everywhere: backends may compare parameters
  params.inputs = static_cast<int32_t>(inputs.size());
  const Collapsed walk = collapse(*output.shape, strides.data(), static_cast<int>(count));
  const size_t ndim = walk.shape.size();
  each_part(walk, operands, item_sizes, [&](size_t first, const auto& moved) {
    params.ndim = static_cast<int32_t>(ndim - first);
    params.size = 1;
    for (size_t d = first; d < ndim; ++d) {
      params.size *= walk.shape[d];
      params.shape[d - first] = walk.shape[d];
      for (size_t k = 0; k < count; ++k) {
        params.strides[k][d - first] = walk.strides[k * ndim + d];
      }
    }
    encoder.run({kernel, {moved.data(), count}, params});
  });
}

void encode_fill(Encoder& encoder, const Scalar& value, const ArrayView& output) {
  FillParams params{output.size(), 0};
  if (params.size > 0) {
    std::memcpy(&params.value, value.bytes, static_cast<size_t>(size_of(value.dtype)));
    const Operand operand = output.operand();
    encoder.run({{KernelFamily::fill, 0, value.dtype, value.dtype}, {&operand, 1}, params});
  }
}

} // namespace narrows
