// Matrix products by cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/runtime/backend.h"

namespace narrows::cuda {

struct GemmPlan;

// A call of cuBLASLt, as plain data without padding. Equal calls do the same.
struct ProductCall {
  const GemmPlan* plan;
  uint64_t plan_number; // unique, unlike the address, which another plan may get later
  const void* a;
  const void* b;
  void* c;
  void* workspace;
  int64_t workspace_bytes;
  float alpha;
  float beta;

  // Of its operands a, b, c and workspace.
  static constexpr size_t kFirstWritten = 2;
};

// The call, with what must live until it has been encoded.
struct Product : ProductCall {
  std::shared_ptr<const GemmPlan> held_plan;
};

// The bytes of scratch that the products need.
int64_t matmul_scratch(const KernelId& kernel, std::span<const std::byte> params);

// The call for one dispatch, whose operands lie at `addresses`. None if the library is missing or
// cannot compute the product; then the dispatch's kernel runs.
std::optional<Product> product_of(
    const KernelCall& call,
    const gpu::Dispatch& share,
    const std::array<std::uintptr_t, 3>& addresses);

void run(const ProductCall& product, cudaStream_t stream);

} // namespace narrows::cuda
