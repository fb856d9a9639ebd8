// Quantized numbers: from and to codes, and products of many rows with quantized matrices.
#include "common.h"

#include "quantized_codes.h"

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

// Makes the scale of a group, whose extreme numbers are given. One of the group's lanes stores it.
template <typename S>
METAL_FUNC GroupScale make_scale(
    float low,
    float high,
    constant QuantizeParams& p,
    int64_t at,
    bool stores,
    device S* scales,
    device S* biases) {
  if constexpr (metal::is_same_v<S, uint8_t>) {
    const int mode = int(p.mode);
    const float magnitude = metal::abs(larger(high, -low));
    const uint code = mode == NARROWS_QUANTIZED_MXFP4   ? encode_power(magnitude / 6.0f)
                      : mode == NARROWS_QUANTIZED_MXFP8 ? encode_power(magnitude / 448.0f)
                                                        : encode_e4m3(magnitude / 6.0f);
    if (stores) {
      scales[at] = uint8_t(code);
    }
    const float scale = scale_of(uint8_t(code), mode);
    return GroupScale{scale == 0.0f ? 1.0f : scale, 0.0f};
  } else {
    const GroupScale made = affine_scale(low, high, int(p.bits));
    if (stores) {
      scales[at] = S(made.scale);
      biases[at] = S(made.bias);
    }
    return made;
  }
}

template <typename S>
METAL_FUNC uint encode(float number, GroupScale made, int bits) {
  if constexpr (metal::is_same_v<S, uint8_t>) {
    return bits == 8 ? encode_e4m3(number / made.scale) : encode_e2m1(number / made.scale);
  } else {
    return encode_affine(number, made, bits);
  }
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
  device const T* x = in + at * p.group;
  float low = INFINITY;
  float high = -INFINITY;
  for (int64_t i = lane; i < p.group; i += 32) {
    low = -larger(-float(x[i]), -low);
    high = larger(float(x[i]), high);
  }
  low = combine_lanes<MinimumOf<float>>(low);
  high = combine_lanes<MaximumOf<float>>(high);
  const GroupScale made = make_scale(low, high, p, at, lane == 0, scales, biases);
  // Each lane makes a word, from all codes that have bits in it.
  const int words = int(p.group) * bits / 32;
  if (int(lane) >= words) {
    return;
  }
  const int first_bit = int(lane) * 32;
  uint word = 0u;
  for (int i = first_bit / bits; i * bits < first_bit + 32; ++i) {
    const uint code = encode<S>(float(x[i]), made, bits);
    const int shift = i * bits - first_bit;
    word |= shift >= 0 ? code << uint(shift) : code >> uint(-shift);
  }
  codes[at * words + lane] = word;
}

// A thread quantizes eight numbers, which it reads at once, to codes of four or eight bits. The
// threads of a group are neighbours: 2, 4, 8 or 16 lanes.
template <typename T, typename S>
kernel void quantize_packs(
    device const T* in [[buffer(0)]],
    device uint* codes [[buffer(1)]],
    device S* scales [[buffer(2)]],
    device S* biases [[buffer(3)]],
    constant QuantizeParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, T>::value;
  const uint lanes = uint(p.group) / 8;
  const int64_t at = int64_t(group) * (threads / lanes) + lid / lanes;
  const bool has_work = at < p.groups;
  const int64_t pack = has_work ? thread_number(group, lid, threads) : 0;
  Pack<T, N> packs[8 / N];
  METAL_UNROLL
  for (int k = 0; k < 8 / N; ++k) {
    packs[k] = *(device const Pack<T, N>*)(in + 8 * pack + k * N);
  }
  float numbers[8];
  float low = INFINITY;
  float high = -INFINITY;
  METAL_UNROLL
  for (int k = 0; k < 8; ++k) {
    numbers[k] = float(packs[k / N].values[k % N]);
    low = -larger(-numbers[k], -low);
    high = larger(numbers[k], high);
  }
  for (ushort mask = ushort(lanes / 2); mask > 0; mask >>= 1) {
    low = Minimum()(low, simd_shuffle_xor(low, mask));
    high = Maximum()(high, simd_shuffle_xor(high, mask));
  }
  if (!has_work) {
    return;
  }
  const GroupScale made = make_scale(low, high, p, at, lid % lanes == 0, scales, biases);
  const int bits = int(p.bits);
  uint words[2] = {0u, 0u};
  METAL_UNROLL
  for (int k = 0; k < 8; ++k) {
    const uint code = encode<S>(numbers[k], made, bits);
    words[0] |= bits == 4 ? code << uint(4 * k) : k < 4 ? code << uint(8 * k % 32) : 0u;
    words[1] |= k < 4 ? 0u : code << uint(8 * k % 32);
  }
  if (bits == 4) {
    codes[pack] = words[0];
  } else {
    *(device Pack<uint, 2>*)(codes + 2 * pack) = Pack<uint, 2>{{words[0], words[1]}};
  }
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

#define NARROWS_QUANTIZED(T, S, name)                                 \
  INSTANTIATE_KERNEL("quantize_" name, quantize, T, S)                \
  INSTANTIATE_KERNEL("quantize_" name "_packs", quantize_packs, T, S) \
  INSTANTIATE_KERNEL("dequantize_" name, dequantize, T, S)            \
  INSTANTIATE_KERNEL("quantized_tile_" name, quantized_tile, T, S)
NARROWS_QUANTIZED(half, half, "affine_float16")
NARROWS_QUANTIZED(bfloat, bfloat, "affine_bfloat16")
NARROWS_QUANTIZED(float, float, "affine_float32")
NARROWS_QUANTIZED(half, uint8_t, "floats_float16")
NARROWS_QUANTIZED(bfloat, uint8_t, "floats_bfloat16")
NARROWS_QUANTIZED(float, uint8_t, "floats_float32")
