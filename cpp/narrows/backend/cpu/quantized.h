// What the kernels of quantized numbers share on the CPU.
#pragma once

#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"

namespace narrows::cpu {

// Whether products in integers keep all bits of float32 numbers: NARROWS_EXACT=1. Else they keep
// 16, relative to the largest magnitude of a group. It is decided once per process.
bool keeps_float32();

inline bool is_affine(const KernelId& id) {
  return id.mode == NARROWS_QUANTIZED_AFFINE;
}
// The dtype of scales and biases of numbers of this dtype.
inline Dtype scale_dtype(const KernelId& id, Dtype numbers) {
  return is_affine(id) ? numbers : Dtype::uint8;
}

// The operands from `first` on: codes, scales and, where the mode has them, biases.
inline QuantizedNumbers quantized_numbers(
    const KernelId& id, void* const* operands, size_t first, Dtype numbers) {
  const auto bytes = [&](size_t i) { return static_cast<const std::byte*>(operands[first + i]); };
  return {
      bytes(0),
      bytes(1),
      is_affine(id) ? bytes(2) : nullptr,
      scale_dtype(id, numbers),
      id.group,
      id.bits};
}

inline size_t quantized_operands(const KernelId& id) {
  return is_affine(id) ? 3 : 2;
}

} // namespace narrows::cpu
