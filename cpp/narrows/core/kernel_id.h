// Names a kernel the same way on every backend.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "narrows/core/dtype.h"

namespace narrows {

enum class ElementwiseOp : uint8_t {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) name,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

// core/kernel_families.h has its values and the operations of families. Most files do not need
// them.
enum class KernelFamily : uint8_t;

// What selects the code of a kernel: the family and its variants. Fields that a family does not use
// stay zero.
struct KernelId {
  KernelFamily family;
  uint8_t op = 0; // of the family's operations
  Dtype in;       // of the operands as the kernel reads them
  Dtype out;
  Dtype index{};     // of operands that are indices
  uint8_t bits = 0;  // of packed numbers
  uint8_t group = 0; // numbers that share a scale
  uint8_t mode = 0;

  bool operator==(const KernelId&) const = default;
  // Different for different kernels.
  uint64_t key() const {
    return std::bit_cast<uint64_t>(*this);
  }
};

// The kernel that copies elements and converts them.
KernelId copy_kernel(Dtype in, Dtype out);

int family_count();
std::string_view name_of(KernelFamily family);
// The number of operations of a family, and their names. 0 for families without operations.
int operation_count(KernelFamily family);
std::string_view operation_name(KernelFamily family, uint8_t op);

// The dtype of an operation's result: that of its operands, bool, or float32 for complex64.
enum class ResultRule : uint8_t { same, boolean, real };
Dtype result_dtype(ElementwiseOp op, Dtype operands);

// "elementwise_add_float32_float32"
std::string name_of(const KernelId& id);

} // namespace narrows
