// Matrix products of a batch, by the libraries behind gemm.h.
#include <vector>

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

// Where the matrices of operand `k` start, in elements.
std::vector<int64_t> offsets_of(const MatmulParams& p, int k) {
  std::vector<int64_t> offsets(static_cast<size_t>(batch_of(p)));
  for (size_t i = 0; i < offsets.size(); ++i) {
    auto rest = static_cast<int64_t>(i);
    for (int64_t d = p.batch_ndim; d-- > 0; rest /= p.batch_shape[d]) {
      offsets[i] += rest % p.batch_shape[d] * p.batch_strides[k][d];
    }
  }
  return offsets;
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
  gemm_batched(
      id.in,
      shape_of(p),
      p.alpha,
      operands[0],
      offsets_of(p, 0).data(),
      operands[1],
      offsets_of(p, 1).data(),
      p.beta,
      operands[2],
      offsets_of(p, 2).data(),
      batch_of(p),
      scratch);
}

int64_t matmul_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const MatmulParams*>(params.data());
  return gemm_batched_workspace(id.in, shape_of(p), batch_of(p), p.alpha, p.beta);
}

} // namespace

const Row matmul_row = {
    run_matmul, [](const KernelId& id) { return is_inexact(id.in); }, matmul_scratch};

} // namespace narrows::cpu
