// Operations that return their inputs and change only what transformations and the planner see.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// `a`, with derivatives of zero: transformations take it for a constant.
array stop_gradient(const array& a, StreamOrDevice s = {});

// `inputs`, which are computed only after `dependencies`.
std::vector<array> depends(
    const std::vector<array>& inputs, const std::vector<array>& dependencies);

} // namespace narrows
