// Parameters of batch normalization.
#pragma once

#include "limits.h"

// Rows of channels, row-contiguous; mean and variance are those of each channel over all rows.
// batch_norm: x, weight and bias; then the result, the means and the variances.
// batch_norm_gradient: the cotangent of the result, x, weight, means and variances; then the
// cotangents of x, weight and bias. Means and variances count as functions of x.
struct BatchNormParams {
  int64_t rows;
  int64_t channels;
  float eps; // added to the variance
};

// Of GPU kernels. The rows are cut into pieces, and the channels into blocks of neighbours. A
// threadgroup has one of each.
struct BatchNormParts {
  int64_t rows;
  int64_t channels;
  int64_t piece_rows; // of a piece; the last one may have fewer
  int32_t pieces;
  int32_t blocks; // of channels
  int32_t width;  // threads beside each other in a row of a block, each with one channel or four
  float eps;
};
