// Copies of arrays in the memory of another device: the step that plans insert, and reading on the
// host.
#pragma once

#include "narrows/plan/plan.h"
#include "narrows/record/primitive.h"

namespace narrows {

// Copies the memory of its input as it lies to a device of the type.
const Primitive& transfer_primitive(Device::Type to);

// From the first to the last element of a layout in its buffer, in elements.
struct Extent {
  int64_t first = 0;
  int64_t count = 0;
};
Extent extent_of(const Shape& shape, const Layout& layout);

// Whether a value can be transferred as it lies, without moving much that is not part of it.
bool is_compact(const PlannedValue& value);

// Whether the device can address the value, or will be able to once it is computed: it is computed
// in the memory of its node's device. Under graph_mutex().
bool is_within_reach(const Backend& backend, const Output& output);

// The value's buffer in the memory of its node's device, where plans that were made before it was
// computed expect it: a copy if it has moved since.
BufferRef buffer_at_home(const Output& output);

} // namespace narrows
