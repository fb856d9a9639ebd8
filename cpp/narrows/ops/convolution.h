// Convolutions over one to three dimensions, channels last, and their gradients.
#pragma once

#include <string_view>

#include "narrows/ops/common.h"

namespace narrows {

// Of each dimension that filters move along; a list of one number serves for all.
struct ConvolutionSettings {
  Shape stride = {1};
  Shape padding_low = {0};    // zeros in front of the first element; negative: elements cut off
  Shape padding_high = {0};   // behind the last one
  Shape dilation = {1};       // from an element of the filter to the next
  Shape input_dilation = {1}; // from an element of the input to the next, zeros in between
  int groups = 1;             // outputs of a group see the inputs of that group only
  bool flip = false;          // filters backwards, as convolution has it in mathematics
};

// (n, size..., c) and filters (o, kernel..., c / groups) -> (n, places..., o), with 1 to 3 sizes,
// in the common dtype, which is floating point. ValueError for other shapes and dtypes, for
// settings that are not positive (padding may be negative) and for filters that do not fit into the
// padded input.
array conv_general(
    const array& input,
    const array& weight,
    const ConvolutionSettings& settings = {},
    StreamOrDevice s = {});

// The same over `ndim` dimensions, by the name that errors show.
array convolution(
    const char* op,
    int ndim,
    const array& input,
    const array& weight,
    const ConvolutionSettings& settings,
    StreamOrDevice s = {});

// The transposed convolution over `ndim` dimensions: what a convolution with this stride and
// padding would make of one element of its input spreads from each element of this one.
// `output_padding` more places at the end. ValueError as convolution().
array conv_transpose(
    const char* op,
    int ndim,
    const array& input,
    const array& weight,
    const Shape& stride = {1},
    const Shape& padding = {0},
    const Shape& dilation = {1},
    const Shape& output_padding = {0},
    int groups = 1,
    StreamOrDevice s = {});

// Sums of products of one vector and the other one backwards: of all places where they overlap
// ("full"), of as many as the longer one has, in the middle ("same"), or where they overlap wholly
// ("valid"). ValueError for other modes, for empty vectors and other numbers of dimensions.
array convolve(
    const array& a, const array& v, std::string_view mode = "full", StreamOrDevice s = {});

} // namespace narrows
