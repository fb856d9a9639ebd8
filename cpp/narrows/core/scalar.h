// A value of any dtype, exact for every dtype that arrays have.
#pragma once

#include <cstddef>
#include <cstring>

#include "narrows/core/dtype.h"

namespace narrows {

struct Scalar {
  Dtype dtype;
  alignas(8) std::byte bytes[8];

  template <typename T>
  static Scalar of(T value, Dtype dtype) {
    static_assert(sizeof(T) <= 8);
    Scalar scalar{dtype, {}};
    std::memcpy(scalar.bytes, &value, sizeof(T));
    return scalar;
  }
};

} // namespace narrows
