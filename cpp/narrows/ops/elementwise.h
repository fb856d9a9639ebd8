// Elementwise operations: one function for each row of metal_kernels/elementwise.def.
// Inputs are converted to a common dtype and broadcast to a common shape. ValueError if the
// operation is not defined for that dtype or the shapes do not broadcast.
#pragma once

#include "narrows/core/kernel_id.h"
#include "narrows/ops/common.h"

namespace narrows {

// A row of the table.
struct ElementwiseInfo {
  enum class Operands : uint8_t { same, floating, logical, integral };
  enum class Kernels : uint8_t { any, numeric, real, inexact, floating, integral, boolean };

  const char* name;
  int arity;
  Operands operands;
  ResultRule result;
  Kernels kernels;
  const char* summary;

  // The dtype that inputs of the promoted dtype `inputs` are converted to. ValueError if the
  // operation is not defined for it.
  Dtype operand_dtype(Dtype inputs) const;
};

const ElementwiseInfo& elementwise_info(ElementwiseOp op);
std::span<const ElementwiseInfo> elementwise_table();

// Records the operation with `arity` inputs.
array elementwise(ElementwiseOp op, std::span<const array> inputs, StreamOrDevice s = {});

#define NARROWS_DECLARE_1(name) array name(const array& a, StreamOrDevice s = {});
#define NARROWS_DECLARE_2(name) array name(const array& a, const array& b, StreamOrDevice s = {});
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_DECLARE_##arity(name)
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
#undef NARROWS_DECLARE_1
#undef NARROWS_DECLARE_2

// `a` converted to `dtype`, or `a` itself if it has that dtype. Conversion of floating point to
// integers truncates; conversion of complex to real drops the imaginary part.
array astype(const array& a, Dtype dtype, StreamOrDevice s = {});

// A copy of `a`.
array copy(const array& a, StreamOrDevice s = {});

// Elements of `x` where `condition` is true, else of `y`.
array where(const array& condition, const array& x, const array& y, StreamOrDevice s = {});

} // namespace narrows
