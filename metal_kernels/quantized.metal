// Quantized numbers: from and to codes, and products with quantized matrices.
#include "common.h"

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

// What the codes of a group are computed with.
struct GroupScale {
  float scale;
  float bias;
};

METAL_FUNC GroupScale affine_scale(float low, float high, int bits) {
  const float steps = float((1u << uint(bits)) - 1u);
  float scale = larger((high - low) / steps, 1e-7f);
  if (bits == 1) {
    return GroupScale{scale, low};
  }
  const bool from_low = metal::abs(low) > metal::abs(high);
  const float edge = from_low ? low : high;
  scale = from_low ? scale : -scale;
  const float whole = metal::rint(edge / scale);
  return whole != 0.0f ? GroupScale{edge / whole, edge} : GroupScale{scale, 0.0f};
}
METAL_FUNC uint encode_affine(float x, GroupScale group, int bits) {
  const float steps = float((1u << uint(bits)) - 1u);
  const float code = (x - group.bias) / group.scale;
  return uint(metal::rint(larger(code < steps ? code : steps, 0.0f)));
}

// A simdgroup quantizes one group of numbers.
template <typename T, typename S>
kernel void quantize(
    device const T* in [[buffer(0)]],
    device uint* codes [[buffer(1)]],
    device S* scales [[buffer(2)]],
    device S* biases [[buffer(3)]],
    constant QuantizeParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const int64_t at = int64_t(group) * simdgroups + simdgroup;
  if (at >= p.groups) {
    return;
  }
  const int bits = int(p.bits);
  const int mode = int(p.mode);
  device const T* x = in + at * p.group;
  float low = INFINITY;
  float high = -INFINITY;
  for (int64_t i = lane; i < p.group; i += 32) {
    low = -larger(-float(x[i]), -low);
    high = larger(float(x[i]), high);
  }
  low = combine_lanes<MinimumOf<float>>(low);
  high = combine_lanes<MaximumOf<float>>(high);
  GroupScale made{0.0f, 0.0f};
  if constexpr (metal::is_same_v<S, uint8_t>) {
    const float magnitude = metal::abs(larger(high, -low));
    const uint code = mode == NARROWS_QUANTIZED_MXFP4   ? encode_power(magnitude / 6.0f)
                      : mode == NARROWS_QUANTIZED_MXFP8 ? encode_power(magnitude / 448.0f)
                                                        : encode_e4m3(magnitude / 6.0f);
    made.scale = scale_of(uint8_t(code), mode);
    made.scale = made.scale == 0.0f ? 1.0f : made.scale;
    if (lane == 0) {
      scales[at] = uint8_t(code);
    }
  } else {
    made = affine_scale(low, high, bits);
    if (lane == 0) {
      scales[at] = S(made.scale);
      biases[at] = S(made.bias);
    }
  }
  // Each lane makes a word, from all codes that have bits in it.
  const int words = int(p.group) * bits / 32;
  if (int(lane) >= words) {
    return;
  }
  const int first_bit = int(lane) * 32;
  uint word = 0u;
  for (int i = first_bit / bits; i * bits < first_bit + 32; ++i) {
    const float number = float(x[i]);
    uint code;
    if constexpr (metal::is_same_v<S, uint8_t>) {
      code = bits == 8 ? encode_e4m3(number / made.scale) : encode_e2m1(number / made.scale);
    } else {
      code = encode_affine(number, made, bits);
    }
    const int shift = i * bits - first_bit;
    word |= shift >= 0 ? code << uint(shift) : code >> uint(-shift);
  }
  codes[at * words + lane] = word;
}

// A thread makes eight numbers of one group.
template <typename T, typename S>
kernel void dequantize(
    device const uint* codes [[buffer(0)]],
    device const S* scales [[buffer(1)]],
    device const S* biases [[buffer(2)]],
    device T* out [[buffer(3)]],
    constant QuantizeParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t first = thread_number(group, lid, threads) * 8;
  if (first >= p.groups * p.group) {
    return;
  }
  const int mode = int(p.mode);
  const int64_t of_group = first / p.group;
  const float scale = scale_of(scales[of_group], mode);
  const float bias = bias_of(biases, of_group);
  for (int i = 0; i < 8; ++i) {
    out[first + i] = T(scale * decode(code_at(codes, first + i, int(p.bits)), mode) + bias);
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

// Eight codes in a row, from the lowest bit on. They begin with a multiple of eight.
template <int kBits>
METAL_FUNC uint64_t eight_codes(device const uint* words, int64_t first) {
  if constexpr (kBits == 4) {
    return words[first >> 3];
  } else {
    const int64_t bit = first * kBits;
    device const uint* word = words + (bit >> 5);
    const uint shift = uint(bit) & 31u;
    uint64_t codes = word[0];
    if (shift + 8 * kBits > 32u) {
      codes |= uint64_t(word[1]) << 32;
    }
    return codes >> shift;
  }
}

// Where rows of b are multiplied, a simdgroup computes two neighbouring results. Each lane takes
// eight numbers at a time, beside those of its neighbours, and reads some of them ahead.
template <typename T, typename S, int kMode, int kBits>
kernel void quantized_rows(
    device const T* a [[buffer(0)]],
    device const uint* codes [[buffer(1)]],
    device const S* scales [[buffer(2)]],
    device const S* biases [[buffer(3)]],
    device const uint* lhs_indices [[buffer(4)]],
    device const uint* rhs_indices [[buffer(5)]],
    device T* c [[buffer(6)]],
    constant QuantizedMatmulParams& p [[buffer(7)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  constexpr int kColumns = 2;
  constexpr int kAhead = 4;
  constexpr uint kMask = (1u << kBits) - 1u;
  const int64_t pieces = (p.n + kColumns - 1) / kColumns; // of a row
  const int64_t piece = int64_t(group) * simdgroups + simdgroup;
  if (piece >= p.products * p.m * pieces) {
    return;
  }
  const int64_t row = piece / pieces; // of all pairs
  const int64_t pair = row / p.m;
  const int64_t column = (piece - row * pieces) * kColumns;
  const PairPlace place = place_of(p, lhs_indices, rhs_indices, pair);
  device const T* x = a + place.a + (row - pair * p.m) * p.k;
  const int k_size = int(p.k);
  const int group_bits = p.group == 16 ? 4 : p.group == 32 ? 5 : p.group == 64 ? 6 : 7;
  int64_t first[kColumns];                                         // number of the column
  float sums[kColumns];
  METAL_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    first[i] = place.b + metal::min(column + i, p.n - 1) * p.k;
    sums[i] = 0.0f;
  }
  for (int k0 = int(lane) * 8; k0 < k_size; k0 += 32 * 8 * kAhead) {
    uint64_t words[kAhead][kColumns];
    float scale[kAhead][kColumns];
    float bias[kAhead][kColumns];
    METAL_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      const int k = k0 + 256 * j < k_size ? k0 + 256 * j : k0;
      METAL_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        const int64_t of_group = (first[i] + k) >> group_bits;
        words[j][i] = eight_codes<kBits>(codes, first[i] + k);
        scale[j][i] = scale_of(scales[of_group], kMode);
        bias[j][i] = bias_of(biases, of_group);
      }
    }
    METAL_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      const int k = k0 + 256 * j;
      if (k >= k_size) {
        break;
      }
      float numbers[8];
      float total = 0.0f;
      METAL_UNROLL
      for (int e = 0; e < 8; ++e) {
        numbers[e] = float(x[k + e]);
        total += numbers[e];
      }
      METAL_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        float product = 0.0f;
        METAL_UNROLL
        for (int e = 0; e < 8; ++e) {
          const uint code = uint(words[j][i] >> uint(e * kBits)) & kMask;
          product = metal::fma(decode(code, kMode), numbers[e], product);
        }
        sums[i] = metal::fma(scale[j][i], product, metal::fma(bias[j][i], total, sums[i]));
      }
    }
  }
  METAL_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const float sum = combine_lanes<SumOf<float>>(sums[i]);
    if (lane == 0 && column + i < p.n) {
      c[row * p.n + column + i] = T(sum);
    }
  }
}

// 256 threads compute 64 x 64 results, each 4 x 4 that are 16 apart.
template <typename T, typename S>
kernel void quantized_tile(
    device const T* a [[buffer(0)]],
    device const uint* codes [[buffer(1)]],
    device const S* scales [[buffer(2)]],
    device const S* biases [[buffer(3)]],
    device const uint* lhs_indices [[buffer(4)]],
    device const uint* rhs_indices [[buffer(5)]],
    device T* c [[buffer(6)]],
    constant QuantizedMatmulParams& p [[buffer(7)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  constexpr int kTile = 64;
  constexpr int kDepth = 16;
  constexpr int kThreads = 256;
  constexpr int kEach = 4;
  THREADGROUP_ARRAY(float, left, [kDepth][kTile + 1]); // transposed
  THREADGROUP_ARRAY(float, right, [kDepth][kTile + 1]);

  const int64_t row_tiles = (p.m + kTile - 1) / kTile;
  const int64_t tiles = row_tiles * ((p.n + kTile - 1) / kTile);
  const int64_t pair = int64_t(group) / tiles;
  const int64_t tile = int64_t(group) % tiles;
  const int64_t row0 = tile % row_tiles * kTile;
  const int64_t column0 = tile / row_tiles * kTile;
  const PairPlace place = place_of(p, lhs_indices, rhs_indices, pair);
  const int mode = int(p.mode);
  const uint ty = lid / 16;
  const uint tx = lid % 16;

  float sums[kEach][kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      sums[i][j] = 0.0f;
    }
  }
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    METAL_UNROLL
    for (int e = 0; e < kTile * kDepth; e += kThreads) {
      const uint depth = (lid + e) % kDepth;
      const int64_t k = k0 + depth;
      const int64_t row = row0 + (lid + e) / kDepth;
      const bool has_row = row < p.m && k < p.k;
      left[depth][(lid + e) / kDepth] = has_row ? float(a[place.a + row * p.k + k]) : 0.0f;
      // Neighbours along the rows of b.
      const uint of_depth = p.transpose != 0 ? depth : (lid + e) / kTile;
      const uint of_column = p.transpose != 0 ? (lid + e) / kDepth : (lid + e) % kTile;
      const int64_t column = column0 + of_column;
      float number = 0.0f;
      if (column < p.n && k0 + of_depth < p.k) {
        const int64_t at = place.b + (p.transpose != 0 ? column * p.k + (k0 + of_depth)
                                                       : (k0 + of_depth) * p.n + column);
        const int64_t of_group = at / p.group;
        number = scale_of(scales[of_group], mode) * decode(code_at(codes, at, int(p.bits)), mode) +
                 bias_of(biases, of_group);
      }
      right[of_depth][of_column] = number;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        METAL_UNROLL
        for (int j = 0; j < kEach; ++j) {
          sums[i][j] = metal::fma(left[k][ty + 16 * i], right[k][tx + 16 * j], sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t row = row0 + ty + 16 * i;
      const int64_t column = column0 + tx + 16 * j;
      if (row < p.m && column < p.n) {
        c[place.c + row * p.n + column] = T(sums[i][j]);
      }
    }
  }
}

#define NARROWS_QUANTIZED(T, S, name)                      \
  INSTANTIATE_KERNEL("quantize_" name, quantize, T, S)     \
  INSTANTIATE_KERNEL("dequantize_" name, dequantize, T, S) \
  INSTANTIATE_KERNEL("quantized_tile_" name, quantized_tile, T, S)
#define NARROWS_QUANTIZED_ROWS(T, S, mode, bits, name) \
  INSTANTIATE_KERNEL("quantized_rows_" name, quantized_rows, T, S, mode, bits)
#define NARROWS_AFFINE_ROWS(T, bits, name) \
  NARROWS_QUANTIZED_ROWS(T, T, NARROWS_QUANTIZED_AFFINE, bits, "affine_" #bits "_" name)
#define NARROWS_QUANTIZED_TYPE(T, tname)                                           \
  NARROWS_QUANTIZED(T, T, "affine_" tname)                                         \
  NARROWS_QUANTIZED(T, uint8_t, "floats_" tname)                                   \
  NARROWS_AFFINE_ROWS(T, 1, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 2, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 3, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 4, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 5, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 6, tname)                                                 \
  NARROWS_AFFINE_ROWS(T, 8, tname)                                                 \
  NARROWS_QUANTIZED_ROWS(T, uint8_t, NARROWS_QUANTIZED_MXFP4, 4, "mxfp4_4_" tname) \
  NARROWS_QUANTIZED_ROWS(T, uint8_t, NARROWS_QUANTIZED_MXFP8, 8, "mxfp8_8_" tname) \
  NARROWS_QUANTIZED_ROWS(T, uint8_t, NARROWS_QUANTIZED_NVFP4, 4, "nvfp4_4_" tname)
NARROWS_QUANTIZED_TYPE(half, "float16")
NARROWS_QUANTIZED_TYPE(bfloat, "bfloat16")
NARROWS_QUANTIZED_TYPE(float, "float32")
