// Products of chosen matrices, which are read in place.
#include <algorithm>

#include "metal_kernels/gather_matmul.h"
#include "narrows/backend/cpu/gemm.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/segmented_matmul.h"

namespace narrows::cpu {
namespace {

GemmShape shape_of(const GatherMatmulParams& p) {
  return {p.m, p.n, p.k, false, false, p.k, p.n, p.n};
}

// Scratch: first the offsets of matrices.
int64_t planned_offsets(const GatherMatmulParams& p) {
  return planned_scratch((3 * p.products * int64_t{sizeof(int64_t)} + 63) / 64 * 64);
}

// An index out of range selects the last matrix, so that no other memory is read.
void write_offsets(
    const uint32_t* indices, int64_t products, int64_t count, int64_t size, int64_t* offsets) {
  for (int64_t i = 0; i < products; ++i) {
    offsets[i] = std::min<int64_t>(indices[i], count - 1) * size;
  }
}

void run_gather_matmul(
    const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const GatherMatmulParams*>(params);
  if (id.mode == NARROWS_CHOSEN_RANGES) {
    run_segmented_matmul(id, operands, p, scratch);
    return;
  }
  const int64_t planned = planned_offsets(p);
  SmallScratch small;
  auto* offsets = reinterpret_cast<int64_t*>(small.unless(planned ? scratch : nullptr));
  int64_t* b_offsets = offsets + p.products;
  int64_t* c_offsets = b_offsets + p.products;
  const auto* lhs = static_cast<const uint32_t*>(operands[2]);
  const auto* rhs = static_cast<const uint32_t*>(operands[3]);
  write_offsets(lhs, p.products, p.lhs_count, p.m * p.k, offsets);
  write_offsets(rhs, p.products, p.rhs_count, p.k * p.n, b_offsets);
  for (int64_t i = 0; i < p.products; ++i) {
    c_offsets[i] = i * p.m * p.n;
  }
  gemm_batched(
      id.out,
      shape_of(p),
      1,
      operands[0],
      offsets,
      operands[1],
      b_offsets,
      0,
      operands[4],
      c_offsets,
      p.products,
      static_cast<std::byte*>(scratch) + planned);
}

int64_t gather_matmul_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const GatherMatmulParams*>(params.data());
  if (id.mode == NARROWS_CHOSEN_RANGES) {
    return segmented_matmul_scratch(id, p);
  }
  return planned_offsets(p) + gemm_batched_workspace(id.out, shape_of(p), p.products);
}

} // namespace

const Row gather_matmul_row = {
    run_gather_matmul,
    [](const KernelId& id) { return is_inexact(id.out); },
    gather_matmul_scratch};

} // namespace narrows::cpu
