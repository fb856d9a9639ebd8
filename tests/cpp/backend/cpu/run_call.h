// Runs a call of a CPU kernel with as much scratch as its row asks for.
#pragma once

#include <cstdlib>
#include <memory>

#include "narrows/backend/cpu/kernels.h"

namespace narrows::testing {

template <typename Params>
void run_call(const KernelId& id, void* const* operands, const Params& params) {
  const Backend::Scratch scratch = cpu::row_of(id.family).scratch;
  const int64_t bytes = scratch ? scratch(id, std::as_bytes(std::span(&params, 1))) : 0;
  const std::unique_ptr<void, void (*)(void*)> memory(
      bytes > 0 ? std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)) : nullptr,
      std::free);
  cpu::run(id, operands, &params, memory.get());
}

} // namespace narrows::testing
