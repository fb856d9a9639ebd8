// The largest and smallest floating-point number of several processes, where their engine finds
// only those of integers.
#pragma once

#include <functional>

#include "narrows/ops/common.h"
#include "narrows/runtime/process_group.h"

namespace narrows {

// Finds the extreme of integers.
using IntegerExtreme = std::function<array(const array& integers)>;

// all_max or all_min of a floating-point or complex array. NaN is the largest and the smallest
// number; complex numbers are ordered by their real parts, then by their imaginary parts.
array extreme_of_integers(
    CollectiveOp op, const array& x, int group, const IntegerExtreme& extreme, StreamOrDevice s);

// How much of an extreme is this process's: processes that have the same one share it equally.
array share_of_extreme(
    const array& x, const array& result, Dtype dtype, int group, StreamOrDevice s);

} // namespace narrows
