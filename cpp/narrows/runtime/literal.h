// Literals: numbers that operations take beside arrays.
#pragma once

#include "narrows/core/scalar.h"
#include "narrows/runtime/buffer.h"

namespace narrows {

// The value of an array without dimensions. It never changes, so programs of fused steps can
// contain it. Its bytes lie in the buffer object itself: no memory source counts it, and every
// backend takes it as an operand.
struct Literal : Buffer {
  explicit Literal(const Scalar& scalar);

  alignas(16) std::byte value[sizeof(Scalar::bytes)];
};

BufferRef make_literal(const Scalar& scalar);

} // namespace narrows
