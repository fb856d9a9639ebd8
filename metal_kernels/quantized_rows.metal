// Products of a few rows with quantized matrices: as fast as memory gives the codes.
#include "common.h"

#include "quantized_codes.h"

// A lane reads the codes of 32 numbers in a row at once: as many words as a code has bits.
constant constexpr int kChunk = 32;
// The columns of a simdgroup. It multiplies numbers of the left factor with all of them, and the
// codes of all of them are read at once.
constant constexpr int kColumns = 4;
// The most simdgroups of a threadgroup.
constant constexpr int kMostSimdgroups = 8;

template <int kBits>
struct Codes {
  uint words[kBits];
};

template <int kBits>
METAL_FUNC Codes<kBits> read_codes(device const uint* from) {
  constexpr int kWords = kBits % 4 == 0 ? 4 : kBits % 2 == 0 ? 2 : 1;
  Codes<kBits> codes;
  METAL_UNROLL
  for (int i = 0; i < kBits; i += kWords) {
    const Pack<uint, kWords> pack = *(device const Pack<uint, kWords>*)(from + i);
    METAL_UNROLL
    for (int j = 0; j < kWords; ++j) {
      codes.words[i + j] = pack.values[j];
    }
  }
  return codes;
}

// A word whose second highest byte is byte i of another word.
METAL_FUNC uint with_byte(uint word, uint bytes, int i) {
#if defined(__CUDACC__)
  return __byte_perm(bytes, word, 0x7054u | uint(i) << 8); // one instruction
#else
  const uint moved = i == 3 ? bytes >> 8 : i == 2 ? bytes : bytes << uint(16 - 8 * i);
  return (moved & 0xff0000u) | word;
#endif
}

struct Eight {
  float values[8];
};

// Eight numbers as they lie in memory.
template <typename T>
struct RawEight {
  enum { each = 16 / sizeof(T), count = 8 / each };
  Pack<T, each> packs[count];
};

template <typename T>
METAL_FUNC RawEight<T> read_eight(device const T* from) {
  RawEight<T> raw;
  METAL_UNROLL
  for (int i = 0; i < RawEight<T>::count; ++i) {
    raw.packs[i] = *(device const Pack<T, RawEight<T>::each>*)(from + i * RawEight<T>::each);
  }
  return raw;
}
template <typename T>
METAL_FUNC Eight numbers_of(RawEight<T> raw) {
  Eight eight;
  METAL_UNROLL
  for (int e = 0; e < 8; ++e) {
    eight.values[e] = float(raw.packs[e / RawEight<T>::each].values[e % RawEight<T>::each]);
  }
  return eight;
}

// How numbers are made of codes. The affine codes of four bits become offset + code: the bits of
// the code are put into a float that is the offset.
template <int kMode, int kBits>
struct Decoder {
  static constexpr bool kIsShort = kMode == NARROWS_QUANTIZED_AFFINE && kBits == 4;
  static constexpr float kOffset = kIsShort ? 16.0f : 0.0f;

  // Numbers 8 i to 8 i + 7 of a chunk.
  static METAL_FUNC Eight eight(thread const Codes<kBits>& codes, int i) {
    Eight numbers;
    if constexpr (kIsShort) {
      const uint word = codes.words[i];
      // Codes in bits 3 to 6 of each byte. The byte becomes bits 16 to 23 of the float.
      const uint even = ((word << 3) & 0x78787878u) | 0x80808080u;
      const uint odd = ((word >> 1) & 0x78787878u) | 0x80808080u;
      METAL_UNROLL
      for (int j = 0; j < 4; ++j) {
        numbers.values[2 * j] = as_type<float>(with_byte(0x41000000u, even, j));
        numbers.values[2 * j + 1] = as_type<float>(with_byte(0x41000000u, odd, j));
      }
    } else {
      METAL_UNROLL
      for (int e = 0; e < 8; ++e) {
        numbers.values[e] = number(code_of(codes, (8 * i + e) * kBits));
      }
    }
    return numbers;
  }

 private:
  static METAL_FUNC uint code_of(thread const Codes<kBits>& codes, int bit) {
    const int word = bit / 32;
    const uint shift = uint(bit % 32);
    uint code = codes.words[word] >> shift;
    if (shift + uint(kBits) > 32u) {
      code |= codes.words[word + 1] << (32u - shift);
    }
    return code & ((1u << uint(kBits)) - 1u);
  }
  static METAL_FUNC float number(uint code) {
    if constexpr (kMode == NARROWS_QUANTIZED_AFFINE) {
      return as_type<float>(0x4b000000u | code) - 8388608.0f; // 2^23 + code - 2^23
    } else {
      return decode(code, kMode);
    }
  }
};

// Adds up each of `count` values over the lanes, where count is a power of two. Lane l gets the sum
// of value l / (32 / count).
template <int kCount>
METAL_FUNC float sum_of_lanes(thread float* values, uint lane) {
  ushort mask = 16;
  METAL_UNROLL
  for (int half_count = kCount / 2; half_count > 0; half_count /= 2) {
    const bool upper = (lane & mask) != 0;
    METAL_UNROLL
    for (int i = 0; i < half_count; ++i) {
      const float kept = upper ? values[half_count + i] : values[i];
      const float given = upper ? values[i] : values[half_count + i];
      values[i] = kept + simd_shuffle_xor(given, mask);
    }
    mask /= 2;
  }
  float sum = values[0];
  METAL_UNROLL
  for (ushort rest = 16 / kCount; rest > 0; rest /= 2) {
    sum += simd_shuffle_xor(sum, rest);
  }
  return sum;
}

template <typename T, typename S, int kMode, int kBits, int kRows>
kernel void quantized_rows(
    device const T* a [[buffer(0)]],
    device const uint* codes [[buffer(1)]],
    device const S* scales [[buffer(2)]],
    device const S* biases [[buffer(3)]],
    device const uint* lhs_indices [[buffer(4)]],
    device const uint* rhs_indices [[buffer(5)]],
    device T* c [[buffer(6)]],
    constant QuantizedRowsParams& p [[buffer(7)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  using Decode = Decoder<kMode, kBits>;
  constexpr bool kHasBias = kMode == NARROWS_QUANTIZED_AFFINE;
  constexpr int kGroups = kMode == NARROWS_QUANTIZED_NVFP4 ? 2 : 1; // of a chunk
  constexpr int kEights = 4 / kGroups; // of numbers in a group, or in what a chunk has of it
  constexpr int kSums = kColumns * kRows;
  THREADGROUP_ARRAY(float, partial, [kMostSimdgroups * kSums]);

  const uint parts = 1u << uint(p.part_bits);
  const uint block_in_group = simdgroup >> uint(p.part_bits);
  const uint part = simdgroup & (parts - 1u);
  const uint block = group * uint(p.blocks) + block_in_group;
  const uint columns_block = p.row_blocks == 1 ? block : block / uint(p.row_blocks);
  const uint of_pair = p.pairs == 1 ? 0u : columns_block / uint(p.column_blocks);
  const bool is_inside = columns_block < uint(p.pairs) * uint(p.column_blocks);
  const uint pair = is_inside ? of_pair : 0u;
  const int row0 = int(block - columns_block * uint(p.row_blocks)) * kRows;
  const int column0 =
      is_inside ? int(columns_block - of_pair * uint(p.column_blocks)) * kColumns : 0;
  uint left = 0;
  uint right = pair;
  if (p.lhs_count > 0) {
    left = metal::min(lhs_indices[pair], uint(p.lhs_count) - 1u);
    right = metal::min(rhs_indices[pair], uint(p.rhs_count) - 1u);
  }
  const int row_words = p.k / kChunk * kBits;
  const int row_groups = p.k >> p.group_bits;
  const int64_t first_column = int64_t(right) * p.n + column0;
  device const uint* words = codes + first_column * row_words;
  scales += first_column * row_groups;
  biases += first_column * row_groups;
  device const T* x = a + (int64_t(left) * p.m + row0) * p.k;

  float sums[kSums];
  METAL_UNROLL
  for (int i = 0; i < kSums; ++i) {
    sums[i] = 0.0f;
  }
  for (int first = int(part) * 32; first < p.k / kChunk; first += int(parts) * 32) {
    const bool has_chunk = first + int(lane) < p.k / kChunk;
    const int chunk = has_chunk ? first + int(lane) : 0;
    const int of_group = chunk * kChunk >> p.group_bits;
    Codes<kBits> read[kColumns];
    S scale[kColumns][kGroups];
    S bias[kColumns][kGroups];
    METAL_UNROLL
    for (int i = 0; i < kColumns; ++i) {
      const int column = column0 + i < p.n ? i : 0;
      read[i] = read_codes<kBits>(words + column * row_words + chunk * kBits);
      METAL_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        scale[i][g] = scales[column * row_groups + of_group + g];
        if constexpr (kHasBias) {
          bias[i][g] = biases[column * row_groups + of_group + g];
        }
      }
    }
    // Those of one row are read at once, too. Those of several would take too many registers.
    RawEight<T> ahead[4];
    if constexpr (kRows == 1) {
      METAL_UNROLL
      for (int j = 0; j < 4; ++j) {
        ahead[j] = read_eight<T>(x + chunk * kChunk + 8 * j);
      }
    }
    // So that compilers do not move reads behind the first products.
    simdgroup_barrier(mem_flags::mem_device);
    METAL_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      float products[kSums];
      float totals[kRows];
      METAL_UNROLL
      for (int i = 0; i < kSums; ++i) {
        products[i] = 0.0f;
      }
      METAL_UNROLL
      for (int r = 0; r < kRows; ++r) {
        totals[r] = 0.0f;
      }
      METAL_UNROLL
      for (int j = g * kEights; j < (g + 1) * kEights; ++j) {
        Eight numbers[kColumns];
        METAL_UNROLL
        for (int i = 0; i < kColumns; ++i) {
          numbers[i] = Decode::eight(read[i], j);
        }
        METAL_UNROLL
        for (int r = 0; r < kRows; ++r) {
          if constexpr (kRows > 1) {
            const int row = row0 + r < p.m ? r : 0;
            ahead[j] = read_eight<T>(x + row * p.k + chunk * kChunk + 8 * j);
          }
          const Eight factors = numbers_of(ahead[j]);
          METAL_UNROLL
          for (int e = 0; e < 8; ++e) {
            METAL_UNROLL
            for (int i = 0; i < kColumns; ++i) {
              products[r * kColumns + i] =
                  metal::fma(numbers[i].values[e], factors.values[e], products[r * kColumns + i]);
            }
            if constexpr (kHasBias) {
              totals[r] += factors.values[e];
            }
          }
        }
      }
      METAL_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        const float factor = scale_of(scale[i][g], kMode);
        METAL_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float sum = sums[r * kColumns + i];
          if constexpr (kHasBias) {
            const float offset = float(bias[i][g]) - Decode::kOffset * factor;
            sum = metal::fma(offset, totals[r], sum);
          }
          sum = metal::fma(factor, products[r * kColumns + i], sum);
          sums[r * kColumns + i] = has_chunk ? sum : sums[r * kColumns + i];
        }
      }
    }
  }
  float sum = sum_of_lanes<kSums>(sums, lane);
  constexpr uint kShare = 32 / kSums; // of lanes that have the same sum
  uint at = lane / kShare;
  bool writes = lane % kShare == 0;
  if (parts > 1) {
    if (writes) {
      partial[simdgroup * kSums + at] = sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    at = lane;
    writes = part == 0 && lane < uint(kSums);
    if (writes) {
      sum = partial[simdgroup * kSums + lane];
      for (uint s = 1; s < parts; ++s) {
        sum += partial[(simdgroup + s) * kSums + lane];
      }
    }
  }
  const int row = row0 + int(at) / kColumns;
  const int column = column0 + int(at) % kColumns;
  if (writes && is_inside && row < p.m && column < p.n) {
    c[(int64_t(pair) * p.m + row) * p.n + column] = T(sum);
  }
}

#define NARROWS_QUANTIZED_ROWS(T, S, mode, bits, name)                            \
  INSTANTIATE_KERNEL("quantized_rows_" name, quantized_rows, T, S, mode, bits, 1) \
  INSTANTIATE_KERNEL("quantized_rows_" name "_4", quantized_rows, T, S, mode, bits, 4)
#define NARROWS_AFFINE_ROWS(T, bits, name) \
  NARROWS_QUANTIZED_ROWS(T, T, NARROWS_QUANTIZED_AFFINE, bits, "affine_" #bits "_" name)
#define NARROWS_ROWS_OF(T, tname)                                                  \
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
NARROWS_ROWS_OF(half, "float16")
NARROWS_ROWS_OF(bfloat, "bfloat16")
NARROWS_ROWS_OF(float, "float32")
