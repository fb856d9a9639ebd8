// KernelCall: the one kind of work that encoders take besides fused programs.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "narrows/core/kernel_id.h"
#include "narrows/runtime/buffer.h"

#define FAMILY(name, Params, inputs, outputs, gpu) struct Params;
#include "metal_kernels/families.def"

namespace narrows {

// A place in a buffer.
struct Operand {
  Buffer* buffer = nullptr;
  int64_t offset = 0; // bytes
};

// The most operands of a call. Backends have arrays of this length.
inline constexpr size_t kMostOperands = 16;

// By family: whether its calls have parameters of this type.
template <typename Params>
inline constexpr bool kTakes[] = {
#define FAMILY(name, FamilyParams, inputs, outputs, gpu) std::is_same_v<Params, ::FamilyParams>,
#include "metal_kernels/families.def"
};

struct KernelCall {
  KernelId kernel;
  std::span<const Operand> operands; // inputs, then outputs
  std::span<const std::byte> params; // the family's parameter struct
  Operand scratch;                   // as many bytes as Backend::scratch() asked for

  // RuntimeError if the family does not take these operands and parameters.
  template <typename Params>
  KernelCall(
      const KernelId& id,
      std::span<const Operand> operands,
      const Params& params,
      Operand scratch = {})
      : kernel(id),
        operands(operands),
        params(std::as_bytes(std::span<const Params>(&params, 1))),
        scratch(scratch) {
    check(kTakes<Params>[static_cast<size_t>(id.family)]);
  }

 private:
  void check(bool takes_params) const;
};

} // namespace narrows
