// The CPU's kernels: a row for each family, beside its code.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

// Calls that need at most this much scratch have it on the stack, and ask the plan for none.
inline constexpr int64_t kMostOnStack = int64_t{16} << 10;

inline constexpr int64_t planned_scratch(int64_t bytes) {
  return bytes > kMostOnStack ? bytes : 0;
}

class SmallScratch {
 public:
  // The scratch of a call: on the stack, or the plan's if it is larger.
  std::byte* unless(void* planned) {
    return planned ? static_cast<std::byte*>(planned) : bytes_;
  }

 private:
  alignas(64) std::byte bytes_[kMostOnStack];
};

struct Row {
  // Runs a whole call, on several threads where that pays. `operands` are the addresses of the
  // first elements, inputs before outputs; `params` is the family's parameter struct; `scratch`
  // has as many bytes as the row asks for.
  void (*run)(const KernelId& id, void* const* operands, const void* params, void* scratch);
  bool (*supports)(const KernelId& id) = nullptr; // nullptr: all dtypes
  Backend::Scratch scratch = nullptr;             // nullptr: none
};

#define FAMILY(name, Params, inputs, outputs, gpu) extern const Row name##_row;
#include "metal_kernels/families.def"

const Row& row_of(KernelFamily family);

// Whether this kernel exists for these dtypes.
inline bool has_kernel(const KernelId& id) {
  const Row& row = row_of(id.family);
  return !row.supports || row.supports(id);
}
inline void run(
    const KernelId& id, void* const* operands, const void* params, void* scratch = nullptr) {
  row_of(id.family).run(id, operands, params, scratch);
}

} // namespace narrows::cpu
