// Operations that hand arrays on and change only what transformations and the planner see.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// `a`, of which derivatives are zero: transformations take it for a constant.
array stop_gradient(const array& a, StreamOrDevice s = {});

// `inputs`, which are there only when `dependencies` have been computed too.
std::vector<array> depends(
    const std::vector<array>& inputs, const std::vector<array>& dependencies);

} // namespace narrows
