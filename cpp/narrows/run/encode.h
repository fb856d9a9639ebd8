// Turns views of arrays into kernel calls that walk them element by element.
#pragma once

#include <array>

#include "narrows/record/primitive.h"

namespace narrows {

// Calls an elementwise kernel (families elementwise, select, cast) on inputs that have the output's
// shape. Dimensions are collapsed. If more are left than kernels can walk, there is a call for each
// index of the first ones.
void encode_elementwise(
    Encoder& encoder,
    const KernelId& kernel,
    std::span<const ArrayView> inputs,
    const ArrayView& output);

// Copies `input` to `output`, converting its dtype.
inline void encode_copy(Encoder& encoder, const ArrayView& input, const ArrayView& output) {
  encode_elementwise(encoder, copy_kernel(input.dtype, output.dtype), {&input, 1}, output);
}

// Calls a kernel on the only input and the only output of a step, with the step's scratch. Does
// nothing if the output is empty.
template <typename Params>
void encode_single(
    Encoder& encoder, const KernelId& kernel, const StepView& step, const Params& params) {
  if (step.outputs[0].size() > 0) {
    const std::array operands = {step.inputs[0].operand(), step.outputs[0].operand()};
    encoder.run({kernel, operands, params, step.workspace});
  }
}

// Sets all elements of the output, which is row-contiguous and has the value's dtype.
void encode_fill(Encoder& encoder, const Scalar& value, const ArrayView& output);

} // namespace narrows
