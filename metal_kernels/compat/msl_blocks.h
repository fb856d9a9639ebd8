// Blocks of matrices for Apple's Metal compiler and for the checker. Apple GPUs multiply 8 x 8
// matrices; which elements of one a lane has is known, though Apple does not document it.
#pragma once

enum : int { kRowLanes0 = 1, kRowLanes1 = 8 };

METAL_FUNC int block_row(int lane) {
  return (lane / 4 & 4) + lane / 2 % 4;
}
METAL_FUNC int block_column(int lane) {
  return (lane / 4 & 2) * 2 + lane % 2 * 2;
}
METAL_FUNC int right_row(int lane, int) {
  return block_row(lane);
}
METAL_FUNC int right_column(int lane, int e) {
  return block_column(lane) + e;
}
constexpr constant bool kRightInColumn = false;

METAL_FUNC float short_factor(float x) {
  return x;
}

template <typename T>
METAL_FUNC simdgroup_matrix<T, 8, 8> matrix_of_block(thread const Block<T>& block) {
  simdgroup_matrix<T, 8, 8> matrix;
  matrix.thread_elements()[0] = block.of[0];
  matrix.thread_elements()[1] = block.of[1];
  return matrix;
}

template <bool kShort, typename T>
METAL_FUNC void add_product(
    thread SumBlocks& sums, thread const LeftBlocks<T>& a, thread const RightBlocks<T>& b) {
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    simdgroup_matrix<float, 8, 8> sum = matrix_of_block(sums.of[i]);
    METAL_UNROLL
    for (int d = 0; d < BlockDepth<T>::value / 8; ++d) {
      simdgroup_multiply_accumulate(
          sum, matrix_of_block(a.of[i][d]), matrix_of_block(b.of[d]), sum);
    }
    sums.of[i].of[0] = sum.thread_elements()[0];
    sums.of[i].of[1] = sum.thread_elements()[1];
  }
}

METAL_FUNC float power_of_two(float x) {
  return metal::exp2(x);
}

METAL_FUNC int renewed(int x) {
  return x;
}
METAL_FUNC int64_t renewed(int64_t x) {
  return x;
}
