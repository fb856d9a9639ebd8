// What primitives share whose output may lie in their input's buffer.
#pragma once

#include "narrows/ops/rules.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {

// The strides of an array of shape `from` that is shown with the shape `to`, to which it
// broadcasts.
Strides broadcast_strides(const Shape& from, const Strides& strides, const Shape& to);

// The output is always a view.
class View : public Primitive {
 public:
  KernelId kernel(Dtype in, Dtype) const override {
    return copy_kernel(in, in);
  }
  FusionRule fusion() const override {
    return {.shows_input = true};
  }
  void encode(Encoder&, const StepView&) const override {
  }
};

// A view that shows elements of its input, and is linear therefore.
class LinearView : public View {
 public:
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
};

// The output is a view if strides allow that. Else it is a row-major copy that is read with another
// shape or dtype.
class ViewOrCopy : public Primitive {
 public:
  KernelId kernel(Dtype in, Dtype) const override {
    return copy_kernel(in, in);
  }
  FusionRule fusion() const override {
    return {.shows_input = true};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const Layout layout = Layout::row_major(*input.shape);
    encode_copy(encoder, input, {step.outputs[0].buffer, input.shape, &layout, input.dtype});
  }
};

} // namespace narrows
