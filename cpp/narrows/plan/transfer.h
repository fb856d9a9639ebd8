// Copies of arrays in the memory of another device: the step that plans insert, and reading on the
// host.
#pragma once

#include "narrows/plan/plan.h"
#include "narrows/record/primitive.h"

namespace narrows {

// Copies the range of memory that its input lies in to a device of the type.
const Primitive& transfer_primitive(Device::Type to);

// The range from the first to the last element of a layout, in elements of its buffer.
struct Extent {
  int64_t first = 0;
  int64_t count = 0;
};
Extent extent_of(const Shape& shape, const Layout& layout);

// Copies the range that the input lies in to where the output lies. They lie in different memories.
void transfer_range(const ArrayView& input, const ArrayView& output);

// Whether a value can be transferred as it lies, without moving much else.
bool is_compact(const PlannedValue& value);

// Whether the device can address the value, now or once it is computed: it is computed in the
// memory of its node's device. Under graph_mutex().
bool is_within_reach(const Backend& backend, const Output& output);

// The value's buffer in the memory of its node's device. Plans that were made before it was
// computed expect it there. It is a copy if the value has moved since.
BufferRef buffer_at_home(const Output& output);

} // namespace narrows
