// The product that ends layer and RMS normalization, with a derivative of its own.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// rows * inverse, where `inverse` is rsqrt(mean of the squares + a number) of each row of the last
// axis, with that axis of length one. It is recorded as `multiply`; its derivative is that of the
// whole normalization. So what stays for the gradient are the result and `inverse`, and not the
// rows as well. Both have one dtype.
array normalized_rows(const array& rows, const array& inverse, StreamOrDevice s = {});

} // namespace narrows
