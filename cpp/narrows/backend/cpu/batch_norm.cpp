// Batch normalization and its gradient: sums over rows, then one pass that writes the result.
#include <algorithm>
#include <cmath>
#include <utility>

#include "metal_kernels/batch_norm.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/batch_norm_tiles.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

BatchNormTile batch_norm_tile() {
  return NARROWS_AT_BEST_ISA(batch_norm_tile());
}

namespace {

constexpr int64_t kThreadElements = 1 << 15;
constexpr int64_t kMostPieces = 64;
// Rows are summed in blocks that lie in the first cache when they are read again.
constexpr int64_t kBlockElements = 1 << 12;
constexpr int64_t kLeastRows = 16;
constexpr int64_t kMostRows = 256;

int64_t block_rows(const BatchNormParams& p) {
  return std::clamp(kBlockElements / p.channels, kLeastRows, kMostRows);
}

// Rows are summed in pieces. Only sizes decide how many, so results do not depend on threads.
int64_t piece_count(const BatchNormParams& p) {
  const int64_t most = std::min(p.rows * p.channels / kThreadElements, p.rows / block_rows(p));
  return std::clamp<int64_t>(most, 1, kMostPieces);
}

// Scratch: for each piece two sums of each channel, then three vectors of the channels.
struct Scratch {
  double* sums;
  float* vectors;

  static int64_t bytes(const BatchNormParams& p) {
    return p.channels * (piece_count(p) * 2 * int64_t{sizeof(double)} + 3 * int64_t{sizeof(float)});
  }
  Scratch(const BatchNormParams& p, std::byte* memory)
      : sums(reinterpret_cast<double*>(memory)),
        vectors(reinterpret_cast<float*>(sums + piece_count(p) * 2 * p.channels)) {
  }
};

// Calls add(first row, rows, rows of the piece before them, the piece's sums) for all blocks.
template <typename Add>
void sum_pieces(const BatchNormParams& p, double* sums, Add&& add) {
  const int64_t pieces = piece_count(p);
  std::fill_n(sums, pieces * 2 * p.channels, 0.0);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t first = p.rows * piece / pieces;
      const int64_t last = p.rows * (piece + 1) / pieces;
      for (int64_t row = first; row < last; row += block_rows(p)) {
        add(row, std::min(block_rows(p), last - row), row - first, sums + piece * 2 * p.channels);
      }
    }
  });
}

template <typename Run>
void each_part(const BatchNormParams& p, Run&& run) {
  parallel_for(p.rows, 1 + kThreadElements / p.channels, std::forward<Run>(run));
}

void run_batch_norm(const KernelId&, void* const* operands, const void* params, void* planned) {
  const auto& p = *static_cast<const BatchNormParams*>(params);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* weight = static_cast<const float*>(operands[1]);
  const auto* bias = static_cast<const float*>(operands[2]);
  auto* out = static_cast<float*>(operands[3]);
  auto* mean = static_cast<float*>(operands[4]);
  auto* variance = static_cast<float*>(operands[5]);
  SmallScratch small;
  const Scratch scratch(p, small.unless(planned));
  const BatchNormTile tile = batch_norm_tile();
  const int64_t n = p.channels;
  sum_pieces(p, scratch.sums, [&](int64_t row, int64_t rows, int64_t before, double* sums) {
    tile.add_moments(x + row * n, rows, n, before, sums, sums + n);
  });
  const int64_t pieces = piece_count(p);
  for (int64_t c = 0; c < n; ++c) {
    double middle = scratch.sums[c];
    double squares = scratch.sums[n + c];
    for (int64_t piece = 1; piece < pieces; ++piece) {
      const auto before = static_cast<double>(p.rows * piece / pieces);
      const auto all = static_cast<double>(p.rows * (piece + 1) / pieces);
      const double step = scratch.sums[piece * 2 * n + c] - middle;
      middle += step * (all - before) / all;
      squares +=
          scratch.sums[(piece * 2 + 1) * n + c] + step * step * before * (all - before) / all;
    }
    mean[c] = static_cast<float>(middle);
    variance[c] = static_cast<float>(squares / static_cast<double>(p.rows));
    scratch.vectors[c] = weight[c] / std::sqrt(variance[c] + p.eps);
  }
  each_part(p, [&](int64_t begin, int64_t end) {
    tile.normalize(x + begin * n, end - begin, n, mean, scratch.vectors, bias, out + begin * n);
  });
}

void run_gradient(const KernelId&, void* const* operands, const void* params, void* planned) {
  const auto& p = *static_cast<const BatchNormParams*>(params);
  const auto* cotangents = static_cast<const float*>(operands[0]);
  const auto* x = static_cast<const float*>(operands[1]);
  const auto* weight = static_cast<const float*>(operands[2]);
  const auto* mean = static_cast<const float*>(operands[3]);
  const auto* variance = static_cast<const float*>(operands[4]);
  auto* of_x = static_cast<float*>(operands[5]);
  auto* of_weight = static_cast<float*>(operands[6]);
  auto* of_bias = static_cast<float*>(operands[7]);
  SmallScratch small;
  const Scratch scratch(p, small.unless(planned));
  const BatchNormTile tile = batch_norm_tile();
  const int64_t n = p.channels;
  sum_pieces(p, scratch.sums, [&](int64_t row, int64_t rows, int64_t, double* sums) {
    tile.add_products(cotangents + row * n, x + row * n, rows, n, mean, sums, sums + n);
  });
  float* scales = scratch.vectors;
  float* slopes = scales + n;
  float* offsets = slopes + n;
  for (int64_t c = 0; c < n; ++c) {
    double sum = 0;
    double product = 0;
    for (int64_t piece = 0; piece < piece_count(p); ++piece) {
      sum += scratch.sums[piece * 2 * n + c];
      product += scratch.sums[(piece * 2 + 1) * n + c];
    }
    const double inverse = 1 / std::sqrt(static_cast<double>(variance[c]) + p.eps);
    const double scale = weight[c] * inverse;
    of_weight[c] = static_cast<float>(product * inverse);
    of_bias[c] = static_cast<float>(sum);
    scales[c] = static_cast<float>(scale);
    slopes[c] =
        static_cast<float>(-scale * inverse * inverse * product / static_cast<double>(p.rows));
    offsets[c] = static_cast<float>(-scale * sum / static_cast<double>(p.rows));
  }
  each_part(p, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * n;
    tile.gradient(
        cotangents + first, x + first, end - begin, n, mean, scales, slopes, offsets, of_x + first);
  });
}

bool supports_batch_norm(const KernelId& id) {
  return id.in == float32 && id.out == float32;
}

int64_t batch_norm_scratch(const KernelId&, std::span<const std::byte> params) {
  return planned_scratch(Scratch::bytes(*reinterpret_cast<const BatchNormParams*>(params.data())));
}

} // namespace

const Row batch_norm_row = {run_batch_norm, supports_batch_norm, batch_norm_scratch};
const Row batch_norm_gradient_row = {run_gradient, supports_batch_norm, batch_norm_scratch};

} // namespace narrows::cpu
