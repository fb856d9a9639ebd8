// What codes, scales and biases mean. Shared by quantized.metal and quantized_rows.metal.
#pragma once

#include "quantized.h"

METAL_FUNC float larger(float a, float b) {
  return a > b ? a : b;
}

// Code i of a sequence that begins with the lowest bit of the first word.
METAL_FUNC uint code_at(device const uint* words, int64_t i, int bits) {
  const int64_t bit = i * bits;
  device const uint* word = words + (bit >> 5);
  const uint shift = uint(bit) & 31u;
  uint code = word[0] >> shift;
  if (shift + uint(bits) > 32u) {
    code |= word[1] << (32u - shift);
  }
  return code & ((1u << uint(bits)) - 1u);
}

// Floats of 4 bits: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and their negatives.
METAL_FUNC float decode_e2m1(uint code) {
  const float m = float(code & 7u);
  const float magnitude = larger(0.5f * m, larger(m - 2.0f, 2.0f * m - 8.0f));
  return (code & 8u) != 0u ? -magnitude : magnitude;
}
// The nearest code. Numbers in the middle go to zero, which has no sign.
METAL_FUNC uint encode_e2m1(float x) {
  const float a = metal::abs(x);
  const uint code = uint(a > 0.25f) + uint(a > 0.75f) + uint(a > 1.25f) + uint(a > 1.75f) +
                    uint(a > 2.5f) + uint(a > 3.5f) + uint(a > 5.0f);
  return code | (x < 0.0f && code != 0u ? 8u : 0u);
}

// Floats of 8 bits: a sign, four bits of an exponent, three of a mantissa.
METAL_FUNC float decode_e4m3(uint code) {
  const uint m = code & 0x7fu;
  float magnitude = as_type<float>((m << 20) + (120u << 23));
  magnitude = m < 8u ? float(m) * 0.001953125f : magnitude;
  magnitude = m == 0x7fu ? NAN : magnitude;
  return (code & 0x80u) != 0u ? -magnitude : magnitude;
}
// The nearest code, ties to even. Numbers out of range, and NaN, become the largest.
METAL_FUNC uint encode_e4m3(float x) {
  const float a = metal::abs(x) < 448.0f ? metal::abs(x) : 448.0f;
  const uint bits = as_type<uint>(a);
  const uint normal = ((bits + 0x7ffffu + ((bits >> 20) & 1u)) >> 20) - (120u << 3);
  const uint code = a < 0.015625f ? uint(metal::rint(a * 512.0f)) : normal;
  return code | ((as_type<uint>(x) >> 24) & 0x80u);
}

// Scales that are powers of two are coded as their exponents plus 127.
METAL_FUNC float decode_power(uint code) {
  return as_type<float>(code == 0u ? 0x00400000u : code << 23);
}
METAL_FUNC uint encode_power(float x) {
  const uint bits = as_type<uint>(x);
  const uint up = bits <= 0x00400000u ? 0u : (bits >> 23) + ((bits & 0x7fffffu) != 0u ? 1u : 0u);
  return x == 0.0f ? 127u : metal::min(up, 255u);
}

METAL_FUNC float decode(uint code, int mode) {
  if (mode == NARROWS_QUANTIZED_AFFINE) {
    return float(code);
  }
  return mode == NARROWS_QUANTIZED_MXFP8 ? decode_e4m3(code) : decode_e2m1(code);
}

// Scales and biases: numbers if the mode is affine, else codes of 8 bits and no biases.
template <typename S>
METAL_FUNC float scale_of(S scale, int mode) {
  if constexpr (metal::is_same_v<S, uint8_t>) {
    return mode == NARROWS_QUANTIZED_NVFP4 ? decode_e4m3(uint(scale)) : decode_power(uint(scale));
  } else {
    return float(scale);
  }
}
template <typename S>
METAL_FUNC float bias_of(device const S* biases, int64_t group) {
  if constexpr (metal::is_same_v<S, uint8_t>) {
    return 0.0f;
  } else {
    return float(biases[group]);
  }
}

// The matrices of a pair, as offsets in elements.
struct PairPlace {
  int64_t a;
  int64_t b; // in numbers
  int64_t c;
};
METAL_FUNC PairPlace place_of(
    constant QuantizedMatmulParams& p,
    device const uint* lhs_indices,
    device const uint* rhs_indices,
    int64_t pair) {
  int64_t left = 0;
  int64_t right = 0;
  if (p.indexed != 0) {
    left = metal::min(int64_t(lhs_indices[pair]), p.lhs_count - 1);
    right = metal::min(int64_t(rhs_indices[pair]), p.rhs_count - 1);
  }
  return PairPlace{left * p.m * p.k, right * p.n * p.k, pair * p.m * p.n};
}
