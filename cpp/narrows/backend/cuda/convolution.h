// Convolutions and their gradients by cuDNN.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "narrows/backend/cuda/library_call.h"
#include "narrows/runtime/backend.h"

namespace narrows::cuda {

// The bytes of scratch that a convolution needs, whoever computes it.
int64_t convolution_scratch(const KernelId& kernel, std::span<const std::byte> params);

// The call for a convolution whose operands lie at `addresses`. None if the library is missing or
// cannot compute it; then the kernels of metal_kernels/ run.
std::optional<HeldLibraryCall> convolution_of(
    const KernelCall& call, const std::array<std::uintptr_t, 3>& addresses);

} // namespace narrows::cuda
