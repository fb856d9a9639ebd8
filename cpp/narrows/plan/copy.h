// The copy that plans insert where a step wants its input row-contiguous.
#pragma once

#include "narrows/record/primitive.h"

namespace narrows {

const Primitive& copy_primitive();

} // namespace narrows
