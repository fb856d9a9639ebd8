// Parameters of convolution.
#pragma once

#include "limits.h"

// The number of places (spatial dimensions) that a convolution may have. If it has fewer, the
// others have size 1.
#define NARROWS_CONVOLUTION_PLACES 3

// Three arrays, row-contiguous and channels last: x (batch, x_size..., x_channels), the weights w
// (y_channels, w_size..., x_channels / groups) and y (batch, y_size..., y_channels). Element k of
// the weights connects x at place i with y at place p if, in each dimension,
//   i * x_dilation = p * stride + k * w_dilation - padding.
// The operation says which two arrays are given: `forward` sums into y, `input_gradient` into x
// (from y and w), `weight_gradient` into w (from x and y).
struct ConvolutionParams {
  int64_t batch;
  int64_t groups;
  int64_t x_channels;
  int64_t y_channels;
  int64_t ndim; // the number of places
  int64_t x_size[NARROWS_CONVOLUTION_PLACES];
  int64_t y_size[NARROWS_CONVOLUTION_PLACES];
  int64_t w_size[NARROWS_CONVOLUTION_PLACES];
  int64_t stride[NARROWS_CONVOLUTION_PLACES];
  int64_t padding[NARROWS_CONVOLUTION_PLACES]; // before the first element; negative: elements are
                                               // cut off
  int64_t w_dilation[NARROWS_CONVOLUTION_PLACES];
  int64_t x_dilation[NARROWS_CONVOLUTION_PLACES];
};

// One dispatch; GPU backends make it. Places are those that sums go to (of y, or backward of x).
// Filters bring elements of the source to them. For weights, the places are those of y, which is
// `out`.
struct ConvolutionTileParams {
  int64_t rows;    // places of the whole batch
  int64_t columns; // elements of the filter, each with the channels of a group of the source
  int64_t groups;
  int64_t source_channels;
  int64_t source_group; // channels of a group
  // How far the source's next entry of the batch is, and the next element along a dimension.
  int64_t source_entry;
  int64_t source_stride[NARROWS_CONVOLUTION_PLACES];
  int64_t out_channels;
  int64_t out_group;
  int64_t place_size[NARROWS_CONVOLUTION_PLACES];
  int64_t source_size[NARROWS_CONVOLUTION_PLACES];
  int64_t tap_size[NARROWS_CONVOLUTION_PLACES]; // of the filter
  // Tap t brings the source's element
  //   (place * multiplier + direction * (t * dilation - padding)) / divisor
  // to a place, or nothing if there is no such element.
  int64_t multiplier[NARROWS_CONVOLUTION_PLACES];
  int64_t divisor[NARROWS_CONVOLUTION_PLACES];
  int64_t dilation[NARROWS_CONVOLUTION_PLACES];
  int64_t padding[NARROWS_CONVOLUTION_PLACES];
  int64_t direction;
  int32_t is_divided; // whether a divisor is not 1
  int32_t in_fours;   // whether four channels of the source lie aligned, and belong to one group
  // The distance of a weight from that of the next group, channel of the result, element of the
  // filter and channel of the source.
  int64_t weight_group;
  int64_t weight_out;
  int64_t weight_tap;
  int64_t weight_source;
  int64_t piece_rows; // for weights: rows of a piece
};

struct ConvolutionSumParams {
  int64_t size; // of the result
  int64_t pieces;
};
