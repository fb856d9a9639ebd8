// Batch normalization over all dimensions but the last.
#pragma once

#include <optional>

#include "narrows/ops/common.h"

namespace narrows::fast {

struct BatchNormed {
  array result;
  array mean;     // of each channel
  array variance; // of each channel: the mean of the squared distances from its mean
};

// Subtracts the mean of each channel, along the last dimension, over all others, divides by the
// root of its variance plus `eps`, multiplies by `weight` and adds `bias`: vectors of the channels.
// Computed in float32 or better, which is the dtype of mean and variance; that of the result is the
// dtype of `x` (float32 for integers), `weight` and `bias` promoted. ValueError for fewer than two
// dimensions, for complex numbers, and for vectors of another shape or without floats.
BatchNormed batch_norm(
    const array& x,
    const std::optional<array>& weight,
    const std::optional<array>& bias,
    double eps,
    StreamOrDevice s = {});

} // namespace narrows::fast
