// The CPU's kernels: one function per kernel family, found by KernelId.
#pragma once

#include "narrows/core/kernel_id.h"

namespace narrows::cpu {

// Runs a whole launch, on several threads where that pays. `operands` are the addresses of the
// first elements, in the order that KernelFamily gives; `params` is the family's struct of
// metal_kernels/params.h.
using Kernel = void (*)(const KernelId& id, void* const* operands, const void* params);

void run_elementwise(const KernelId& id, void* const* operands, const void* params);
void run_select(const KernelId& id, void* const* operands, const void* params);
void run_cast(const KernelId& id, void* const* operands, const void* params);
void run_arange(const KernelId& id, void* const* operands, const void* params);
void run_reduce(const KernelId& id, void* const* operands, const void* params);
void run_arg_reduce(const KernelId& id, void* const* operands, const void* params);
void run_scan(const KernelId& id, void* const* operands, const void* params);
void run_softmax(const KernelId& id, void* const* operands, const void* params);
void run_logsumexp(const KernelId& id, void* const* operands, const void* params);
void run_random_bits(const KernelId& id, void* const* operands, const void* params);

// Writes `count` copies of the `size`-byte pattern (1, 2, 4, 8 bytes) to `out`.
void run_fill(void* out, const void* pattern, int64_t size, int64_t count);

// Whether this kernel exists for these dtypes.
bool has_kernel(const KernelId& id);

} // namespace narrows::cpu
