// The derivatives in the columns da and db of the table of elementwise operations.
#pragma once

#include "narrows/core/kernel_id.h"
#include "narrows/ops/common.h"

namespace narrows {

// The change of an operation's result when operand `i` changes by `g`. `g` has that operand's dtype
// and a shape that broadcasts with it. An empty handle if there is no change.
array elementwise_change(
    ElementwiseOp op,
    size_t i,
    const array& g,
    std::span<const array> operands,
    const array& result,
    Stream stream);

} // namespace narrows
