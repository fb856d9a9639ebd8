// Products of a few rows with matrices of affine codes of four bits, for 16-bit floats: tensor
// cores multiply the codes.
#include "common.h"

#include "quantized_codes.h"

// The most simdgroups of a threadgroup.
constant constexpr int kMostSimdgroups = 8;
// A simdgroup has 16 columns, and up to eight rows of the left factor.
constant constexpr int kColumns = 16;
constant constexpr int kRows = 8;
// The groups of a step. What a lane needs of them is read at once.
constant constexpr int kGroups = 4;

// Pairs of 16-bit floats as words: ones, and the float whose lowest bits a code is put into.
template <typename T>
struct PairBits {
  enum : uint { ones = 0x3c003c00u, offset = 0x64006400u };
  static METAL_FUNC float number() {
    return 1024.0f;
  }
};
template <>
struct PairBits<bfloat> {
  enum : uint { ones = 0x3f803f80u, offset = 0x43004300u };
  static METAL_FUNC float number() {
    return 128.0f;
  }
};

// Codes in bits 0 to 3 of both halves of a word become offset + code.
template <typename T>
METAL_FUNC uint pair_of_codes(uint word) {
#if defined(__CUDACC__)
  uint pair; // in one instruction
  asm("lop3.b32 %0, %1, %2, %3, 0xea;"
      : "=r"(pair)
      : "r"(word), "r"(0x000f000fu), "r"(uint(PairBits<T>::offset)));
  return pair;
#else
  return (word & 0x000f000fu) | uint(PairBits<T>::offset);
#endif
}

METAL_FUNC uint low_halves(uint a, uint b) {
#if defined(__CUDACC__)
  return __byte_perm(a, b, 0x5410u);
#else
  return (a & 0xffffu) | b << 16;
#endif
}
METAL_FUNC uint high_halves(uint a, uint b) {
#if defined(__CUDACC__)
  return __byte_perm(a, b, 0x7632u);
#else
  return a >> 16 | (b & 0xffff0000u);
#endif
}

// What a lane has of a product of 16 x 16 and 16 x 8 pairs of numbers. Lane l has, of rows l / 4
// and l / 4 + 8 on the left and of column l / 4 on the right, the pairs l % 4 and l % 4 + 4; of the
// result it has columns 2 (l % 4) and the next in these rows.
struct LeftPairs {
  uint first[2];  // of both rows
  uint second[2]; // pairs l % 4 + 4
};
struct RightPairs {
  uint first;
  uint second;
};
struct Products {
  float values[2][2]; // by row and column
};

template <typename T>
METAL_FUNC float low_number(uint pair) {
  return float(as_type<T>(ushort(pair & 0xffffu)));
}
template <typename T>
METAL_FUNC float high_number(uint pair) {
  return float(as_type<T>(ushort(pair >> 16)));
}

template <typename T>
METAL_FUNC void add_products(thread Products& sums, LeftPairs left, RightPairs right, uint lane) {
#if defined(__CUDACC__)
#define NARROWS_MULTIPLY(type)                                \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type  \
      ".f32 "                                                 \
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
      : "+f"(sums.values[0][0]),                              \
        "+f"(sums.values[0][1]),                              \
        "+f"(sums.values[1][0]),                              \
        "+f"(sums.values[1][1])                               \
      : "r"(left.first[0]),                                   \
        "r"(left.first[1]),                                   \
        "r"(left.second[0]),                                  \
        "r"(left.second[1]),                                  \
        "r"(right.first),                                     \
        "r"(right.second))
  if constexpr (metal::is_same_v<T, bfloat>) {
    NARROWS_MULTIPLY("bf16");
  } else {
    NARROWS_MULTIPLY("f16");
  }
#undef NARROWS_MULTIPLY
#else
  for (uint t = 0; t < 4; ++t) {
    const ushort of_row = ushort(lane / 4 * 4 + t);
    LeftPairs a;
    for (int i = 0; i < 2; ++i) {
      a.first[i] = simd_shuffle(left.first[i], of_row);
      a.second[i] = simd_shuffle(left.second[i], of_row);
    }
    for (int j = 0; j < 2; ++j) {
      const ushort of_column = ushort((2 * (lane % 4) + uint(j)) * 4 + t);
      const uint b = simd_shuffle(right.first, of_column);
      const uint d = simd_shuffle(right.second, of_column);
      for (int i = 0; i < 2; ++i) {
        float sum = sums.values[i][j];
        sum = metal::fma(low_number<T>(a.first[i]), low_number<T>(b), sum);
        sum = metal::fma(high_number<T>(a.first[i]), high_number<T>(b), sum);
        sum = metal::fma(low_number<T>(a.second[i]), low_number<T>(d), sum);
        sums.values[i][j] = metal::fma(high_number<T>(a.second[i]), high_number<T>(d), sum);
      }
    }
  }
#endif
}

// The four lanes that have a column share the codes of each of its groups.
template <typename T, int kGroupBits>
kernel void quantized_matrix(
    device const T* a [[buffer(0)]],
    device const uint* codes [[buffer(1)]],
    device const T* scales [[buffer(2)]],
    device const T* biases [[buffer(3)]],
    device const uint* lhs_indices [[buffer(4)]],
    device const uint* rhs_indices [[buffer(5)]],
    device T* c [[buffer(6)]],
    constant QuantizedRowsParams& p [[buffer(7)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr int kWords = 1 << (kGroupBits - 5); // of a lane in a group
  constexpr int kStep = kGroups << kGroupBits;  // numbers
  THREADGROUP_ARRAY(float, partial, [kMostSimdgroups * kColumns * kRows]);

  const uint parts = 1u << uint(p.part_bits);
  const uint block_in_group = simdgroup >> uint(p.part_bits);
  const uint part = simdgroup & (parts - 1u);
  const uint block = group * uint(p.blocks) + block_in_group;
  const uint of_pair = p.pairs == 1 ? 0u : block / uint(p.column_blocks);
  const bool is_inside = block < uint(p.pairs) * uint(p.column_blocks);
  const uint pair = is_inside ? of_pair : 0u;
  const int column0 = is_inside ? int(block - of_pair * uint(p.column_blocks)) * kColumns : 0;
  uint left = 0;
  uint right = pair;
  if (p.lhs_count > 0) {
    left = metal::min(lhs_indices[pair], uint(p.lhs_count) - 1u);
    right = metal::min(rhs_indices[pair], uint(p.rhs_count) - 1u);
  }
  const int of_four = int(lane % 4);
  const int row_words = p.k / 8;
  const int row_groups = p.k >> kGroupBits;
  const int steps = p.k / kStep;
  device const uint* words[2];
  device const T* column_scales[2];
  device const T* column_biases[2];
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t column =
        int64_t(right) * p.n + metal::min(column0 + int(lane / 4) + 8 * i, p.n - 1);
    words[i] = codes + column * row_words + of_four * kWords;
    column_scales[i] = scales + column * row_groups;
    column_biases[i] = biases + column * row_groups;
  }
  device const T* x =
      a + (int64_t(left) * p.m + metal::min(int(lane / 4), p.m - 1)) * p.k + of_four * kWords * 8;

  Products sums = Products{{{0.0f, 0.0f}, {0.0f, 0.0f}}};
  for (int step = int(part); step < steps; step += int(parts)) {
    Pack<uint, kWords> read[2][kGroups];
    Pack<T, kGroups> scale[2];
    Pack<T, kGroups> bias[2];
    Pack<uint, 4> numbers[kGroups][kWords];
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      METAL_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        read[i][g] =
            *(device const Pack<uint, kWords>*)(words[i] + (step * kGroups + g) * 4 * kWords);
      }
      scale[i] = *(device const Pack<T, kGroups>*)(column_scales[i] + step * kGroups);
      bias[i] = *(device const Pack<T, kGroups>*)(column_biases[i] + step * kGroups);
    }
    METAL_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      METAL_UNROLL
      for (int w = 0; w < kWords; ++w) {
        numbers[g][w] =
            *(device const Pack<uint, 4>*)(x + ((step * kGroups + g) << kGroupBits) + 8 * w);
      }
    }
    // So that compilers do not move reads behind the first products.
    simdgroup_barrier(mem_flags::mem_device);
    METAL_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      Products products = Products{{{0.0f, 0.0f}, {0.0f, 0.0f}}};
      Products totals = products;
      METAL_UNROLL
      for (int w = 0; w < kWords; ++w) {
        const uint u = read[0][g].values[w];
        const uint v = read[1][g].values[w];
        thread const uint* n = numbers[g][w].values;
        // Numbers in the order of the codes: 0, 4, 1, 5, and 2, 6, 3, 7.
        const RightPairs even = RightPairs{low_halves(n[0], n[2]), high_halves(n[0], n[2])};
        const RightPairs odd = RightPairs{low_halves(n[1], n[3]), high_halves(n[1], n[3])};
        const LeftPairs of_even = LeftPairs{
            {pair_of_codes<T>(u), pair_of_codes<T>(v)},
            {pair_of_codes<T>(u >> 4), pair_of_codes<T>(v >> 4)}};
        const LeftPairs of_odd = LeftPairs{
            {pair_of_codes<T>(u >> 8), pair_of_codes<T>(v >> 8)},
            {pair_of_codes<T>(u >> 12), pair_of_codes<T>(v >> 12)}};
        constexpr uint kOnes = PairBits<T>::ones;
        const LeftPairs ones = LeftPairs{{kOnes, kOnes}, {kOnes, kOnes}};
        add_products<T>(products, of_even, even, lane);
        add_products<T>(totals, ones, even, lane);
        add_products<T>(products, of_odd, odd, lane);
        add_products<T>(totals, ones, odd, lane);
      }
      METAL_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float factor = float(scale[i].values[g]);
        const float offset = float(bias[i].values[g]);
        METAL_UNROLL
        for (int j = 0; j < 2; ++j) {
          const float total = totals.values[i][j];
          const float product = metal::fma(-PairBits<T>::number(), total, products.values[i][j]);
          sums.values[i][j] =
              metal::fma(factor, product, metal::fma(offset, total, sums.values[i][j]));
        }
      }
    }
  }
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    METAL_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int at = (int(lane / 4) + 8 * i) * kRows + 2 * of_four + j;
      partial[int(simdgroup) * kColumns * kRows + at] = sums.values[i][j];
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  // The sums of the parts.
  for (int i = int(part * 32 + lane); i < kColumns * p.m; i += int(parts) * 32) {
    const int row = i / kColumns;
    const int column = i - row * kColumns;
    float sum = 0.0f;
    for (uint s = 0; s < parts; ++s) {
      sum += partial[(int(block_in_group * parts + s) * kColumns + column) * kRows + row];
    }
    if (is_inside && column0 + column < p.n) {
      c[(int64_t(pair) * p.m + row) * p.n + column0 + column] = T(sum);
    }
  }
}

#define NARROWS_QUANTIZED_MATRIX(T, tname)                                                 \
  INSTANTIATE_KERNEL("quantized_rows_affine_4_" tname "_matrix_5", quantized_matrix, T, 5) \
  INSTANTIATE_KERNEL("quantized_rows_affine_4_" tname "_matrix_6", quantized_matrix, T, 6) \
  INSTANTIATE_KERNEL("quantized_rows_affine_4_" tname "_matrix_7", quantized_matrix, T, 7)
NARROWS_QUANTIZED_MATRIX(half, "float16")
NARROWS_QUANTIZED_MATRIX(bfloat, "bfloat16")
