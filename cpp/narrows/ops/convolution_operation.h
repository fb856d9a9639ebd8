// The operation of convolutions and of both their gradients, as it is recorded.
#pragma once

#include <tuple>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/common.h"
#include "narrows/record/fields.h"

namespace narrows {

// Of a convolution y of x and the weights w, whichever of them is the result.
struct ConvolutionFields {
  ConvolutionOp op_;
  Shape stride_;
  Shape padding_low_;
  Shape padding_high_;
  Shape dilation_;
  Shape input_dilation_;
  int groups_;
  Shape size_; // of the result, along the dimensions that filters move along

  static constexpr std::tuple fields{
      field("stride", &ConvolutionFields::stride_),
      field("padding_low", &ConvolutionFields::padding_low_),
      field("padding_high", &ConvolutionFields::padding_high_),
      field("dilation", &ConvolutionFields::dilation_),
      field("input_dilation", &ConvolutionFields::input_dilation_),
      field("groups", &ConvolutionFields::groups_),
      hidden_field("size", &ConvolutionFields::size_)};
};

// The sizes along the dimensions that filters move along, and a shape of these sizes.
Shape spatial(const Shape& shape);
Shape with_ends(int64_t first, const Shape& sizes, int64_t last);

// The shape of the result for inputs of these shapes.
Shape convolution_shape(const ConvolutionFields& fields, const Shape& a, const Shape& b);

// Records the operation on inputs of one dtype, which fit.
array record_convolution(
    const ConvolutionFields& fields, const array& a, const array& b, StreamOrDevice s);

} // namespace narrows
