// The steps that copy a value to the host and back, so that it takes no memory of its device in
// between.
#pragma once

#include <memory>

#include "narrows/record/primitive.h"

namespace narrows {

// Both run on the stream of the value's device and keep its layout, so bits and layouts are those
// of the value. The first leaves its output in the host's memory, where only the second reads it.
const std::shared_ptr<const Primitive>& to_host_primitive();
const std::shared_ptr<const Primitive>& from_host_primitive();

// Whether it is one of them. The planner decides where their outputs lie.
bool is_host_copy(const Primitive& primitive);

} // namespace narrows
