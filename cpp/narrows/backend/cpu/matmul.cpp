// Matrix products of a batch, by the libraries behind gemm.h.
#include "metal_kernels/matmul.h"
#include "narrows/backend/cpu/gemm.h"
#include "narrows/backend/cpu/kernels.h"

namespace narrows::cpu {
namespace {

GemmShape shape_of(const MatmulParams& p) {
  return {p.m, p.n, p.k, p.transpose_a != 0, p.transpose_b != 0, p.lda, p.ldb, p.ldc};
}

int64_t batch_of(const MatmulParams& p) {
  int64_t count = 1;
  for (int64_t d = 0; d < p.batch_ndim; ++d) {
    count *= p.batch_shape[d];
  }
  return count;
}

// Writes the offsets of the matrices of operand `k`, in elements.
void write_offsets(const MatmulParams& p, int k, int64_t batch, int64_t* offsets) {
  for (int64_t i = 0; i < batch; ++i) {
    offsets[i] = 0;
    int64_t rest = i;
    for (int64_t d = p.batch_ndim; d-- > 0; rest /= p.batch_shape[d]) {
      offsets[i] += rest % p.batch_shape[d] * p.batch_strides[k][d];
    }
  }
}

// Scratch: first the offsets.
int64_t planned_offsets(int64_t batch) {
  return planned_scratch((3 * batch * int64_t{sizeof(int64_t)} + 63) / 64 * 64);
}

void run_matmul(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const MatmulParams*>(params);
  if (p.batch_ndim == 0) {
    constexpr int64_t kStart = 0;
    gemm_batched(
        id.in,
        shape_of(p),
        p.alpha,
        operands[0],
        &kStart,
        operands[1],
        &kStart,
        p.beta,
        operands[2],
        &kStart,
        1,
        scratch);
    return;
  }
  const int64_t batch = batch_of(p);
  const int64_t planned = planned_offsets(batch);
  SmallScratch small;
  auto* offsets = reinterpret_cast<int64_t*>(small.unless(planned ? scratch : nullptr));
  for (int k = 0; k < 3; ++k) {
    write_offsets(p, k, batch, offsets + k * batch);
  }
  gemm_batched(
      id.in,
      shape_of(p),
      p.alpha,
      operands[0],
      offsets,
      operands[1],
      offsets + batch,
      p.beta,
      operands[2],
      offsets + 2 * batch,
      batch,
      static_cast<std::byte*>(scratch) + planned);
}

int64_t matmul_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const MatmulParams*>(params.data());
  const int64_t batch = batch_of(p);
  const int64_t offsets = p.batch_ndim == 0 ? 0 : planned_offsets(batch);
  return offsets + gemm_batched_workspace(id.in, shape_of(p), batch, p.alpha, p.beta);
}

} // namespace

const Row matmul_row = {
    run_matmul, [](const KernelId& id) { return is_inexact(id.in); }, matmul_scratch};

} // namespace narrows::cpu
