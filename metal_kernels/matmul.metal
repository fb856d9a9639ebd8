// Matrix products for devices without a library of them, in tiles through threadgroup memory.
#include "common.h"

#include "matmul.h"

METAL_FUNC float multiply_add(float a, float b, float c) {
  return metal::fma(a, b, c);
}
#if METAL_HAS_FLOAT64
METAL_FUNC double multiply_add(double a, double b, double c) {
  return metal::fma(a, b, c);
}
#endif
METAL_FUNC complex64_t multiply_add(complex64_t a, complex64_t b, complex64_t c) {
  return Add()(metal::multiply(a, b), c);
}

template <typename T>
METAL_FUNC T scaled(T x, float by) {
  return x * T(by);
}
METAL_FUNC complex64_t scaled(complex64_t x, float by) {
  return complex64_t{x.real * by, x.imag * by};
}

// Element e of a kRows x kColumns tile, so that neighbouring threads read neighbours in memory.
template <int kRows, int kColumns>
METAL_FUNC uint2 tile_place(uint e, bool transposed) {
  return transposed ? uint2(e % kRows, e / kRows) : uint2(e / kColumns, e % kColumns);
}

template <typename T>
METAL_FUNC T matrix_element(
    device const T* matrix,
    int64_t row,
    int64_t column,
    int64_t rows,
    int64_t columns,
    int64_t ld,
    bool transposed) {
  if (row >= rows || column >= columns) {
    return Convert<T>()(0);
  }
  return matrix[transposed ? column * ld + row : row * ld + column];
}

template <typename T>
METAL_FUNC void store_product(
    device T* c, constant MatmulTileParams& p, int64_t row, int64_t column, Compute<T> product) {
  if (row >= p.m || column >= p.n) {
    return;
  }
  device T* to = c + row * p.ldc + column;
  Compute<T> value = scaled(product, p.alpha);
  if (p.beta != 0.0f) {
    value = Add()(value, scaled(Compute<T>(*to), p.beta));
  }
  *to = T(value);
}

// 256 threads compute 64 x 64 results, each 4 x 4 that are 16 apart.
template <typename T>
kernel void matmul_tiled(
    device const T* a [[buffer(0)]],
    device const T* b [[buffer(1)]],
    device T* c [[buffer(2)]],
    constant MatmulTileParams& p [[buffer(3)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kTile = 64;
  constexpr int kDepth = 16;
  constexpr int kThreads = 256;
  constexpr int kEach = 4;
  THREADGROUP_ARRAY(Value, left, [kDepth][kTile + 1]); // transposed
  THREADGROUP_ARRAY(Value, right, [kDepth][kTile + 1]);

  const int64_t row_tiles = (p.m + kTile - 1) / kTile;
  const int64_t row0 = int64_t(group.x) % row_tiles * kTile;
  const int64_t column0 = int64_t(group.x) / row_tiles * kTile;
  a += int64_t(group.z) * p.a_stride;
  b += int64_t(group.z) * p.b_stride;
  c += int64_t(group.z) * p.c_stride;
  const uint ty = lid / 16;
  const uint tx = lid % 16;

  Value sums[kEach][kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      sums[i][j] = Convert<Value>()(0);
    }
  }
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    METAL_UNROLL
    for (int e = 0; e < kTile * kDepth; e += kThreads) {
      const uint2 at_a = tile_place<kTile, kDepth>(lid + e, p.transpose_a != 0);
      left[at_a.y][at_a.x] =
          Value(matrix_element(a, row0 + at_a.x, k0 + at_a.y, p.m, p.k, p.lda, p.transpose_a != 0));
      const uint2 at_b = tile_place<kDepth, kTile>(lid + e, p.transpose_b != 0);
      right[at_b.x][at_b.y] = Value(
          matrix_element(b, k0 + at_b.x, column0 + at_b.y, p.k, p.n, p.ldb, p.transpose_b != 0));
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        METAL_UNROLL
        for (int j = 0; j < kEach; ++j) {
          sums[i][j] = multiply_add(left[k][ty + 16 * i], right[k][tx + 16 * j], sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      store_product<T>(c, p, row0 + ty + 16 * i, column0 + tx + 16 * j, sums[i][j]);
    }
  }
}

// Four simdgroups compute 64 x 64 results, each 32 x 32 in 8 x 8 matrices.
template <typename T>
kernel void matmul_simdgroup(
    device const T* a [[buffer(0)]],
    device const T* b [[buffer(1)]],
    device T* c [[buffer(2)]],
    constant MatmulTileParams& p [[buffer(3)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  constexpr int kTile = 64;
  constexpr int kDepth = 32;
  constexpr int kThreads = 128;
  constexpr int kEach = 4;
  constexpr int kLeftStride = kDepth + 8;
  constexpr int kRightStride = kTile + 8;
  THREADGROUP_ARRAY(T, left, [kTile * kLeftStride]);
  THREADGROUP_ARRAY(T, right, [kDepth * kRightStride]);
  THREADGROUP_ARRAY(float, results, [4][64]);

  const int64_t row_tiles = (p.m + kTile - 1) / kTile;
  const int64_t row0 = int64_t(group.x) % row_tiles * kTile;
  const int64_t column0 = int64_t(group.x) / row_tiles * kTile;
  a += int64_t(group.z) * p.a_stride;
  b += int64_t(group.z) * p.b_stride;
  c += int64_t(group.z) * p.c_stride;
  const uint my_row = simdgroup / 2 * 32;
  const uint my_column = simdgroup % 2 * 32;

  simdgroup_matrix<float, 8, 8> sums[kEach][kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
  }
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    METAL_UNROLL
    for (int e = 0; e < kTile * kDepth; e += kThreads) {
      const uint2 at_a = tile_place<kTile, kDepth>(lid + e, p.transpose_a != 0);
      left[at_a.x * kLeftStride + at_a.y] =
          matrix_element(a, row0 + at_a.x, k0 + at_a.y, p.m, p.k, p.lda, p.transpose_a != 0);
      const uint2 at_b = tile_place<kDepth, kTile>(lid + e, p.transpose_b != 0);
      right[at_b.x * kRightStride + at_b.y] =
          matrix_element(b, k0 + at_b.x, column0 + at_b.y, p.k, p.n, p.ldb, p.transpose_b != 0);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; k += 8) {
      simdgroup_matrix<T, 8, 8> rows[kEach];
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        simdgroup_load(rows[i], left + (my_row + 8 * i) * kLeftStride + k, kLeftStride);
      }
      METAL_UNROLL
      for (int j = 0; j < kEach; ++j) {
        simdgroup_matrix<T, 8, 8> columns;
        simdgroup_load(columns, right + k * kRightStride + my_column + 8 * j, kRightStride);
        METAL_UNROLL
        for (int i = 0; i < kEach; ++i) {
          simdgroup_multiply_accumulate(sums[i][j], rows[i], columns, sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      simdgroup_store(sums[i][j], &results[simdgroup][0], 8);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      for (uint e = lane; e < 64; e += 32) {
        store_product<T>(
            c,
            p,
            row0 + my_row + 8 * i + e / 8,
            column0 + my_column + 8 * j + e % 8,
            results[simdgroup][e]);
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
    }
  }
}

#define NARROWS_MATMUL(T, tname, unused) INSTANTIATE_KERNEL("matmul_tiled_" tname, matmul_tiled, T)
NARROWS_TYPES_inexact(NARROWS_MATMUL, unused)
    INSTANTIATE_KERNEL("matmul_simdgroup_float16", matmul_simdgroup, half)
        INSTANTIATE_KERNEL("matmul_simdgroup_bfloat16", matmul_simdgroup, bfloat)
