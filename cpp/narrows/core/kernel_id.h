// Names a kernel the same way on every backend.
#pragma once

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

enum class ReduceOp : uint8_t { sum, prod, min, max, all, any };
enum class ArgReduceOp : uint8_t { argmin, argmax };
enum class ScanOp : uint8_t { sum, prod, min, max, logaddexp };

inline constexpr int kReduceOpCount = 6;
inline constexpr int kScanOpCount = 5;

// Kernels of one family take the same operands and parameters (metal_kernels/params.h).
enum class KernelFamily : uint8_t {
  elementwise, // op: ElementwiseOp. in..., out; ElementwiseParams
  select,      // cond (bool), a, b, out; ElementwiseParams
  cast,        // in, out: copies and converts; ElementwiseParams
  fill,        // out: no input, the value is the parameter's bytes; see Encoder::fill
  arange,      // out; ArangeParams
  reduce,      // op: ReduceOp. in, out; ReduceParams
  arg_reduce,  // op: ArgReduceOp. in, out (uint32); ReduceParams
  scan,        // op: ScanOp. in, out; ScanParams
  softmax,     // in, out; RowParams
  logsumexp,   // in, out (one per row); RowParams
  random_bits, // keys (uint32), out; RandomBitsParams
};

struct KernelId {
  KernelFamily family;
  uint8_t op = 0; // one of the enumerations above, by family
  Dtype in;       // of the operands as the kernel reads them
  Dtype out;
};

// The dtype of an operation's result, by its operands': as theirs, bool, or float32 of complex64.
enum class ResultRule : uint8_t { same, boolean, real };
Dtype result_dtype(ElementwiseOp op, Dtype operands);

// "elementwise_add_float32_float32"
std::string name_of(const KernelId& id);

} // namespace narrows
