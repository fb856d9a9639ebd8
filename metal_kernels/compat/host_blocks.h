// Blocks of matrices on the emulated GPU, in Apple's order of lanes.
#pragma once

enum : int { kRowLanes0 = 1, kRowLanes1 = 8 };

METAL_FUNC int block_row(int lane) {
  return int(::metal::emu::matrix_row(unsigned(lane)));
}
METAL_FUNC int block_column(int lane) {
  return int(::metal::emu::matrix_column(unsigned(lane)));
}
METAL_FUNC int right_row(int lane, int) {
  return block_row(lane);
}
METAL_FUNC int right_column(int lane, int e) {
  return block_column(lane) + e;
}
constexpr bool kRightInColumn = false;

METAL_FUNC float short_factor(float x) {
  return x;
}

template <bool kShort, typename T>
void add_product(SumBlocks& sums, const LeftBlocks<T>& a, const RightBlocks<T>& b, METAL_EMU_SITE) {
  struct Factors {
    LeftBlocks<T> a;
    RightBlocks<T> b;
  };
  const auto lanes = ::metal::emu::exchange(Factors{a, b}, "add_product", file, line);
  constexpr int kDepth = BlockDepth<T>::value;
  float left[16][kDepth], right[kDepth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Factors factors = lanes[unsigned(lane)];
    for (int d = 0; d < kDepth / 8; ++d) {
      for (int e = 0; e < 2; ++e) {
        for (int i = 0; i < 2; ++i) {
          left[8 * i + block_row(lane)][8 * d + block_column(lane) + e] =
              float(factors.a.of[i][d].of[e]);
        }
        right[8 * d + right_row(lane, e)][right_column(lane, e)] = float(factors.b.of[d].of[e]);
      }
    }
  }
  const int row = block_row(int(::metal_emu::simd_lane()));
  const int column = block_column(int(::metal_emu::simd_lane()));
  for (int i = 0; i < 2; ++i) {
    for (int e = 0; e < 2; ++e) {
      float sum = sums.of[i].of[e];
      for (int k = 0; k < kDepth; ++k) {
        sum += left[8 * i + row][k] * right[k][column + e];
      }
      sums.of[i].of[e] = sum;
    }
  }
}

METAL_FUNC float power_of_two(float x) {
  return ::exp2f(x);
}

METAL_FUNC int renewed(int x) {
  return x;
}
METAL_FUNC int64_t renewed(int64_t x) {
  return x;
}
