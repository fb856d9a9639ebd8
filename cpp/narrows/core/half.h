// Storage types float16_t and bfloat16_t: IEEE half and the upper half of a float.
// Arithmetic happens in float; conversion rounds to nearest, ties to even.
#pragma once

#include <bit>
#include <complex>
#include <cstdint>

namespace narrows {

using complex64_t = std::complex<float>;

inline float half_bits_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu);
  // Shift exponent and mantissa into place, then rescale: exact for subnormals too.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t inf_nan = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | inf_nan | sign);
}

inline uint16_t float_to_half_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits & 0x80000000u;
  const uint32_t magnitude = bits ^ sign;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu); // NaN stays NaN
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u; // rounds beyond the largest half
  } else if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 lines the mantissa up with the half's last bit and rounds.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<uint16_t>(half | (sign >> 16));
}

inline float bfloat_bits_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t float_to_bfloat_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

struct float16_t {
  uint16_t bits = 0;
  float16_t() = default;
  explicit float16_t(float value) : bits(float_to_half_bits(value)) {
  }
  explicit operator float() const {
    return half_bits_to_float(bits);
  }
};

struct bfloat16_t {
  uint16_t bits = 0;
  bfloat16_t() = default;
  explicit bfloat16_t(float value) : bits(float_to_bfloat_bits(value)) {
  }
  explicit operator float() const {
    return bfloat_bits_to_float(bits);
  }
};

} // namespace narrows
