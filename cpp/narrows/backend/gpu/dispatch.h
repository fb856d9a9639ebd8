// How a launch becomes a dispatch of one of metal_kernels/, for all GPU backends: which variant of
// the kernel, over how many threadgroups, with which parameters.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "metal_kernels/params.h"
#include "narrows/core/kernel_id.h"
#include "narrows/runtime/backend.h"

namespace narrows::gpu {

// Bound as buffers 0, 1, ... in the order of the launch's operands, then the parameters.
struct Dispatch {
  std::string kernel; // its name in the library
  std::array<uint32_t, 3> groups{1, 1, 1};
  uint32_t threads = 0; // per threadgroup, a multiple of 32
  alignas(16) std::array<std::byte, 512> params;
  size_t params_size = 0;
};

// What a launch takes: one dispatch, or two where few results have many elements. Then the first
// one writes partial results to scratch memory, on a multiple of 16 bytes, in place of the output,
// and the second one reads them in place of the input.
struct Work {
  Dispatch first;
  std::optional<Dispatch> second;
  int64_t scratch_bytes = 0;
};

// `addresses` are those of the operands on the device: their alignment decides.
Work work_of(
    const KernelId& kernel,
    std::span<const std::uintptr_t> addresses,
    std::span<const std::byte> params);
Dispatch dispatch_of_fill(
    std::uintptr_t address, std::span<const std::byte> pattern, int64_t count);

// A copy as a launch over the widest elements that both places, whose addresses are or'ed, and the
// size are multiples of. A kernel runs beside others where a copy of the device's may not.
struct CopyLaunch {
  KernelId kernel;
  ElementwiseParams params;
};
CopyLaunch copy_launch(std::uintptr_t addresses, int64_t bytes);

// One product of each matrix of the batch from `first` on that lies at an even distance from the
// one before: `count` is how many there are.
struct GemmDispatch : Dispatch {
  int64_t count = 0;
  std::array<int64_t, 3> steps{}; // from one a, b and c to the next, in elements
};
GemmDispatch dispatch_of_gemm(const GemmCall& call, int64_t first);

// Calls encode(dispatch, operands) for all products of the batch.
template <typename Encode>
void for_each_product(const GemmCall& call, Encode&& encode) {
  const int64_t size = size_of(call.dtype);
  for (int64_t first = 0; first < call.batch;) {
    const GemmDispatch product = dispatch_of_gemm(call, first);
    std::array operands = {call.a, call.b, call.c};
    operands[0].offset += call.a_offsets[first] * size;
    operands[1].offset += call.b_offsets[first] * size;
    operands[2].offset += call.c_offsets[first] * size;
    encode(product, std::span<const Operand>(operands));
    first += product.count;
  }
}

// The name of the kernel for launches that may be of any layout: whether the library has it says
// whether the launch is possible.
std::string general_name(const KernelId& kernel);

} // namespace narrows::gpu
