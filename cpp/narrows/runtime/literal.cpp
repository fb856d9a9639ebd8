#include "narrows/runtime/literal.h"

#include <cstring>

namespace narrows {

Literal::Literal(const Scalar& scalar) {
  std::memcpy(value, scalar.bytes, sizeof(value));
  memory = value;
  bytes = capacity = size_of(scalar.dtype);
  is_literal = true;
}

BufferRef make_literal(const Scalar& scalar) {
  return BufferRef(new Literal(scalar));
}

} // namespace narrows
