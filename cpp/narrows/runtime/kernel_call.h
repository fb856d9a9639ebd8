// KernelCall: the one kind of work that encoders take besides fused programs.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "narrows/core/kernel_id.h"
#include "narrows/runtime/buffer.h"

namespace narrows {

// A place in a buffer.
struct Operand {
  Buffer* buffer = nullptr;
  int64_t offset = 0; // bytes
};

// The most operands of a call. Backends have arrays of this length.
inline constexpr size_t kMostOperands = 16;

// Has a different value for every type.
template <typename T>
constexpr std::string_view type_name() {
  return __PRETTY_FUNCTION__;
}

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
    check(type_name<Params>());
  }

 private:
  void check(std::string_view params_type) const;
};

} // namespace narrows
