// Matrix products by cuBLASLt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "narrows/backend/cuda/library_call.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/runtime/backend.h"

namespace narrows::cuda {

// The bytes of scratch that the products need.
int64_t matmul_scratch(const KernelId& kernel, std::span<const std::byte> params);

// The call for one dispatch, whose operands lie at `addresses`. None if the library is missing or
// cannot compute the product; then the dispatch's kernel runs.
std::optional<HeldLibraryCall> product_of(
    const KernelCall& call,
    const gpu::Dispatch& share,
    const std::array<std::uintptr_t, 3>& addresses);

} // namespace narrows::cuda
