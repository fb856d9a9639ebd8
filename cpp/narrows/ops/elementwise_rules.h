// The derivatives in the columns da and db of the table of elementwise operations.
#pragma once

#include "narrows/core/kernel_id.h"
#include "narrows/ops/common.h"

namespace narrows {

// How the result of an operation changes when operand `i` changes by `g`, which has that operand's
// dtype and a shape that broadcasts with it. An empty handle if it does not.
array elementwise_change(
    ElementwiseOp op,
    size_t i,
    const array& g,
    std::span<const array> operands,
    const array& result,
    Stream stream);

} // namespace narrows
