// Softmax and logsumexp: operations on the exponentials of all elements along some axes.
#pragma once

#include "narrows/ops/reduce.h"

namespace narrows {

// exp(a) / sum(exp(a)) along `axes`, without overflow; float32 for integers and bool. Always
// computed in float32 or better: `precise` has no effect.
array softmax(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool precise = false,
    StreamOrDevice s = {});

// log(sum(exp(a))) along `axes`, without overflow; float32 for integers and bool. ValueError if
// there are no elements.
array logsumexp(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

} // namespace narrows
