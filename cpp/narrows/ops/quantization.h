// What the operations on quantized numbers share: the modes, checks, and codes as arrays.
#pragma once

#include "metal_kernels/quantized.h"
#include "narrows/ops/quantized.h"
#include "narrows/record/fields.h"

namespace narrows {

// How numbers are quantized, with nothing left out. The fields of primitives.
struct Quantization {
  std::string mode;
  int group_size = 0;
  int bits = 0;

  static constexpr std::tuple fields{
      field("mode", &Quantization::mode),
      field("group_size", &Quantization::group_size),
      field("bits", &Quantization::bits)};

  // The arguments checked, defaults filled in.
  Quantization() = default;
  Quantization(const char* op, const QuantizationArgs& how);
  // For what fields were read from, which may be anything.
  QuantizationArgs args() const {
    return {group_size, bits, mode};
  }

  bool is_affine() const {
    return mode == "affine";
  }
  // A number of metal_kernels/quantized.h.
  int64_t kernel_mode() const;
  KernelId kernel(KernelFamily family, Dtype in, Dtype out) const;
};

// Codes, scales and biases as the operations are given them, checked against each other.
struct QuantizedArrays {
  array w;
  array scales;
  std::optional<array> biases;

  QuantizedArrays(
      const char* op,
      const array& w,
      const array& scales,
      const std::optional<array>& biases,
      const Quantization& how);

  // Of scales and biases; nothing where the mode has its own.
  std::optional<Dtype> dtype(const Quantization& how) const;
  // For an operation on numbers of this dtype: codes, scales, biases.
  std::vector<array> inputs(const Quantization& how, Dtype numbers, StreamOrDevice s) const;
  // The numbers' shape.
  Shape shape(const Quantization& how) const;
};

// ValueError unless kernels take numbers of that dtype.
void require_quantizable(const char* op, Dtype dtype);

// ValueError unless there is none, or a float32 scalar for a mode that has one.
void check_global_scale(
    const char* op, const std::optional<array>& global_scale, const Quantization& how);
// What numbers are divided by before they are quantized, and `a` times that.
array global_factor(const array& global_scale, StreamOrDevice s);
array with_global_scale(const array& a, const std::optional<array>& global_scale, StreamOrDevice s);

// The codes as uint32, one an element, of packed ones of shape (..., n * bits / 32).
array unpacked_codes(const array& w, const Quantization& how, StreamOrDevice s);

} // namespace narrows
