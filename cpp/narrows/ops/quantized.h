// Numbers in few bits: groups of them share a scale.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// The modes, by name:
//   affine  scale * code + bias; 1, 2, 3, 4, 5, 6 or 8 bits (default 4), groups of 32, 64 (default)
//           or 128, scales and biases in the dtype of the numbers
//   mxfp4   floats of 4 bits, groups of 32, scales are powers of two as uint8
//   mxfp8   floats of 8 bits, groups of 32, scales are powers of two as uint8
//   nvfp4   floats of 4 bits, groups of 16, scales are floats of 8 bits as uint8
struct QuantizationArgs {
  std::optional<int> group_size; // the mode's, if it is not given
  std::optional<int> bits;
  std::string mode = "affine";
};

// Codes in uint32 words, shape (..., n * bits / 32), scales and, where the mode is affine, biases,
// shape (..., n / group_size), of floats of shape (..., n). global_scale, for nvfp4: the largest
// magnitude of all numbers, a float32 scalar. ValueError for what no kernel takes.
std::vector<array> quantize(
    const array& w,
    const QuantizationArgs& how = {},
    const std::optional<array>& global_scale = std::nullopt,
    StreamOrDevice s = {});

// The numbers again, in `dtype`: by default that of scales and biases, or bfloat16.
array dequantize(
    const array& w,
    const array& scales,
    const std::optional<array>& biases = std::nullopt,
    const QuantizationArgs& how = {},
    const std::optional<array>& global_scale = std::nullopt,
    std::optional<Dtype> dtype = std::nullopt,
    StreamOrDevice s = {});

// From and to floats of 8 bits (four of an exponent, three of a mantissa), as uint8. What is too
// large becomes the largest.
array to_fp8(const array& x, StreamOrDevice s = {});
array from_fp8(const array& x, Dtype dtype = bfloat16, StreamOrDevice s = {});

} // namespace narrows
