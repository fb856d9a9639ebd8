// Blocks of matrices in the CUDA view: tensor cores multiply them. The places of a lane's numbers
// are those of mma.sync, where a depth of eight numbers of 32 bits is permuted alike in both
// factors.
#pragma once

// The first lane masks: lanes that share a row of a block differ in these bits.
enum : int { kRowLanes0 = 1, kRowLanes1 = 2 };

METAL_FUNC int block_row(int lane) {
  return lane / 4;
}
METAL_FUNC int block_column(int lane) {
  return 2 * (lane % 4);
}
METAL_FUNC int right_row(int lane, int e) {
  return 2 * (lane % 4) + e;
}
METAL_FUNC int right_column(int lane, int) {
  return lane / 4;
}
// Whether a lane's two numbers of a right block are neighbours in a column.
constexpr bool kRightInColumn = true;

METAL_FUNC uint bits_of_pair(Block<half> block) {
  return as_type<uint>(block);
}
METAL_FUNC uint bits_of_pair(Block<bfloat> block) {
  return as_type<uint>(block);
}

// A float rounded to the 10 bits of TF32's mantissa.
METAL_FUNC float short_factor(float x) {
  uint bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return as_type<float>(bits);
}

METAL_FUNC void multiply_tf32(
    thread SumBlocks& sums, thread const LeftBlocks<float>& a, thread const RightBlocks<float>& b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums.of[0].of[0]),
        "+f"(sums.of[0].of[1]),
        "+f"(sums.of[1].of[0]),
        "+f"(sums.of[1].of[1])
      : "r"(as_type<uint>(a.of[0][0].of[0])),
        "r"(as_type<uint>(a.of[1][0].of[0])),
        "r"(as_type<uint>(a.of[0][0].of[1])),
        "r"(as_type<uint>(a.of[1][0].of[1])),
        "r"(as_type<uint>(b.of[0].of[0])),
        "r"(as_type<uint>(b.of[0].of[1])));
}

// The part that TF32 has of a float, and the rest.
METAL_FUNC float large_part(float x) {
  return as_type<float>(as_type<uint>(x) & 0xffffe000u);
}

template <bool kShort>
METAL_FUNC void add_product(
    thread SumBlocks& sums, thread const LeftBlocks<float>& a, thread const RightBlocks<float>& b) {
  if constexpr (kShort) {
    multiply_tf32(sums, a, b);
  } else {
    // Three products of shorter factors. The product of both rests would not change the sum.
    LeftBlocks<float> large_a, small_a;
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        large_a.of[i][0].of[e] = large_part(a.of[i][0].of[e]);
        small_a.of[i][0].of[e] = a.of[i][0].of[e] - large_a.of[i][0].of[e];
      }
    }
    RightBlocks<float> large_b, small_b;
    METAL_UNROLL
    for (int e = 0; e < 2; ++e) {
      large_b.of[0].of[e] = large_part(b.of[0].of[e]);
      small_b.of[0].of[e] = b.of[0].of[e] - large_b.of[0].of[e];
    }
    multiply_tf32(sums, small_a, large_b);
    multiply_tf32(sums, large_a, small_b);
    multiply_tf32(sums, large_a, large_b);
  }
}
#define METAL_EMU_ADD_PRODUCT(T, name)                                                         \
  template <bool kShort>                                                                       \
  METAL_FUNC void add_product(                                                                 \
      thread SumBlocks& sums, thread const LeftBlocks<T>& a, thread const RightBlocks<T>& b) { \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name                                 \
        ".f32 "                                                                                \
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                \
        : "+f"(sums.of[0].of[0]),                                                              \
          "+f"(sums.of[0].of[1]),                                                              \
          "+f"(sums.of[1].of[0]),                                                              \
          "+f"(sums.of[1].of[1])                                                               \
        : "r"(bits_of_pair(a.of[0][0])),                                                       \
          "r"(bits_of_pair(a.of[1][0])),                                                       \
          "r"(bits_of_pair(a.of[0][1])),                                                       \
          "r"(bits_of_pair(a.of[1][1])),                                                       \
          "r"(bits_of_pair(b.of[0])),                                                          \
          "r"(bits_of_pair(b.of[1])));                                                         \
  }
METAL_EMU_ADD_PRODUCT(half, "f16")
METAL_EMU_ADD_PRODUCT(bfloat, "bf16")
#undef METAL_EMU_ADD_PRODUCT

// Reads right blocks of 16-bit numbers, one below the other, whose rows lie at these addresses:
// that of lane l is the address of row l % 16.
template <typename T>
METAL_FUNC RightBlocks<T> load_right_rows(threadgroup const T* row) {
  uint words[2];
  const uint address = uint(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(words[0]), "=r"(words[1])
               : "r"(address)
               : "memory");
  RightBlocks<T> result;
  result.of[0] = as_type<Block<T>>(words[0]);
  result.of[1] = as_type<Block<T>>(words[1]);
  return result;
}

METAL_FUNC float power_of_two(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// The same number, of which the compiler does not know that it is. What depends on it is computed
// again instead of being kept in registers.
METAL_FUNC int renewed(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
METAL_FUNC int64_t renewed(int64_t x) {
  asm volatile("" : "+l"(x));
  return x;
}
