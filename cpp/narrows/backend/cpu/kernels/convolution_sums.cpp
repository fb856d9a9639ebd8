#include "narrows/backend/cpu/kernels/convolution_sums.h"

#include <array>

#include "narrows/backend/cpu/kernels/product_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int N = kLanes<float>;
// So many rows of two vectors leave registers for the factors: of 32 with AVX-512, of 16 elsewhere.
constexpr int kMostRows = kVectorBytes == 64 ? 14 : 6;
using V = Vector<float, N>;

template <int Rows, int Vectors>
void sum_tile(const ConvolutionSums& s, const float* first_left, float* out) {
  V sums[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      sums[i][j] = s.adds ? load_as<V>(out + i * s.out_row + j * N) : V{};
    }
  }
  const int64_t row = s.left_row;
  const int64_t left_inner = s.left_inner;
  const int64_t right_inner = s.right_inner;
  const int64_t inner = s.inner;
  for (int64_t k = 0; k < s.outer; ++k) {
    // Two pointers, so that addresses need few registers.
    const float* left = first_left + k * s.left_outer;
    const float* middle = left + Rows / 2 * row;
    const float* right = s.right + k * s.right_outer;
#pragma GCC unroll 2
    for (int64_t l = 0; l < inner; ++l) {
      V factors[Vectors];
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) {
        factors[j] = load_as<V>(right + j * N);
      }
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const float* from = i < Rows / 2 ? left + i * row : middle + (i - Rows / 2) * row;
        const V factor = splat<float, N>(*from);
#pragma GCC unroll 2
        for (int j = 0; j < Vectors; ++j) {
          sums[i][j] = multiply_add<float, N>(factor, factors[j], sums[i][j]);
        }
      }
      left += left_inner;
      middle += left_inner;
      right += right_inner;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) {
      store_lanes<N>(out + i * s.out_row + j * N, sums[i][j]);
    }
  }
}

template <int Vectors>
void sum_rows(const ConvolutionSums& s) {
  using Tile = void (*)(const ConvolutionSums&, const float*, float*);
  static constexpr auto tiles = []<int... Less>(std::integer_sequence<int, Less...>) {
    return std::array<Tile, kMostRows>{sum_tile<Less + 1, Vectors>...};
  }
  (std::make_integer_sequence<int, kMostRows>());
  // Tiles are about equally high.
  const int64_t count = (s.rows + kMostRows - 1) / kMostRows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = s.rows * i / count;
    const int64_t height = s.rows * (i + 1) / count - row;
    tiles[height - 1](s, s.left + row * s.left_row, s.out + row * s.out_row);
  }
}

void sum(const ConvolutionSums& sums, int vectors) {
  vectors == 2 ? sum_rows<2>(sums) : sum_rows<1>(sums);
}

} // namespace

ConvolutionTile convolution_tile() {
  return {N, sum};
}

} // namespace narrows::cpu::NARROWS_ISA
