// Turns views of arrays into kernel launches that walk them element by element.
#pragma once

#include "narrows/record/primitive.h"

namespace narrows {

// Launches an elementwise kernel (families elementwise, select, cast) on inputs that have the
// output's shape. Dimensions are collapsed; where more than the kernels can walk remain, there
// is a launch for each index of the first ones.
void encode_elementwise(
    Encoder& encoder,
    const KernelId& kernel,
    std::span<const ArrayView> inputs,
    const ArrayView& output);

// Copies `input` to `output`, converting its dtype.
inline void encode_copy(Encoder& encoder, const ArrayView& input, const ArrayView& output) {
  encode_elementwise(encoder, copy_kernel(input.dtype, output.dtype), {&input, 1}, output);
}

// Sets all elements of the output, which is row-contiguous and has the value's dtype.
void encode_fill(Encoder& encoder, const Scalar& value, const ArrayView& output);

} // namespace narrows
