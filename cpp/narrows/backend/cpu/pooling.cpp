// Pooling by the largest value in each window, and its gradient.
#include <algorithm>

#include "metal_kernels/pooling.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/pool_tiles.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

PoolTile pool_tile() {
  return NARROWS_AT_BEST_ISA(pool_tile());
}

namespace {

// Values in windows that are worth a thread.
constexpr int64_t kThreadValues = 1 << 15;
// Channels of one part of a gradient, at least.
constexpr int64_t kLeastChannels = 16;

int64_t elements(const int64_t* sizes) {
  int64_t count = 1;
  for (int d = 0; d < NARROWS_MAX_POOL_DIMS; ++d) {
    count *= sizes[d];
  }
  return count;
}

// Values that the windows of one entry of the batch have, for each channel.
int64_t seen_values(const PoolParams& p) {
  return elements(p.windows) * std::max<int64_t>(1, elements(p.size));
}

void run_maximum(const PoolParams& p, void* const* operands) {
  const auto* in = static_cast<const float*>(operands[0]);
  auto* out = static_cast<float*>(operands[1]);
  const PoolTile tile = pool_tile();
  const int64_t rows = p.windows[0] * p.windows[1];
  const int64_t row_values = seen_values(p) / rows * p.channels;
  parallel_for(
      p.batch * rows,
      1 + kThreadValues / std::max<int64_t>(1, row_values),
      [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t entry = begin / rows;
          const int64_t first = begin % rows;
          const int64_t last = std::min(rows, first + end - begin);
          tile.maximum(
              p,
              in + entry * elements(p.places) * p.channels,
              first,
              last,
              out + entry * elements(p.windows) * p.channels);
          begin += last - first;
        }
      });
}

// Threads take entries of the batch, and channels of them where entries are few.
void run_gradient(const PoolParams& p, void* const* operands) {
  const auto* in = static_cast<const float*>(operands[0]);
  const auto* largest = static_cast<const float*>(operands[1]);
  const auto* cotangent = static_cast<const float*>(operands[2]);
  auto* out = static_cast<float*>(operands[3]);
  const PoolTile tile = pool_tile();
  const int64_t wanted = (thread_count() + p.batch - 1) / p.batch;
  const int64_t parts = std::clamp<int64_t>(p.channels / kLeastChannels, 1, wanted);
  const int64_t part_values = seen_values(p) * p.channels / parts;
  parallel_for(
      p.batch * parts,
      1 + kThreadValues / std::max<int64_t>(1, part_values),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t entry = i / parts;
          const int64_t windows = entry * elements(p.windows) * p.channels;
          const int64_t places = entry * elements(p.places) * p.channels;
          tile.gradient(
              p,
              in + places,
              largest + windows,
              cotangent + windows,
              p.channels * (i % parts) / parts,
              p.channels * (i % parts + 1) / parts,
              out + places);
        }
      });
}

void run_pool(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const PoolParams*>(params);
  if (static_cast<PoolOp>(id.op) == PoolOp::maximum) {
    run_maximum(p, operands);
  } else {
    run_gradient(p, operands);
  }
}

bool supports_pool(const KernelId& id) {
  return id.in == float32 && id.out == float32;
}

} // namespace

const Row pool_row = {run_pool, supports_pool};

} // namespace narrows::cpu
