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
