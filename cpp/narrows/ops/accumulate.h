// Sums of cotangents, of which many are zeros but for a few elements.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// sum + cotangent. Where one of them was recorded as something written into zeros or added to them
// (the cotangent of a slice or of a gather), it is added to the other one's elements there, so
// that a sum of many takes the memory of one array and the time of what was written.
array accumulated(const array& sum, const array& cotangent, StreamOrDevice s = {});

// `sum` with `part` added where it is not zero, if that was recorded as a slice_update() of zeros;
// else an empty handle.
array with_slice_added(const array& sum, const array& part, StreamOrDevice s);

} // namespace narrows
