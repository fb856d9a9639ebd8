// Calls a generic lambda with the C++ type that stores a dtype.
#pragma once

#include "narrows/core/dtype.h"
#include "narrows/core/half.h"

namespace narrows {

template <typename T>
struct TypeTag {
  using type = T;
};

// dispatch(dtype, [&](auto tag) { using T = typename decltype(tag)::type; ... });
template <typename F>
decltype(auto) dispatch(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::bool_:
      return f(TypeTag<bool>{});
    case Dtype::uint8:
      return f(TypeTag<uint8_t>{});
    case Dtype::uint16:
      return f(TypeTag<uint16_t>{});
    case Dtype::uint32:
      return f(TypeTag<uint32_t>{});
    case Dtype::uint64:
      return f(TypeTag<uint64_t>{});
    case Dtype::int8:
      return f(TypeTag<int8_t>{});
    case Dtype::int16:
      return f(TypeTag<int16_t>{});
    case Dtype::int32:
      return f(TypeTag<int32_t>{});
    case Dtype::int64:
      return f(TypeTag<int64_t>{});
    case Dtype::float16:
      return f(TypeTag<float16_t>{});
    case Dtype::bfloat16:
      return f(TypeTag<bfloat16_t>{});
    case Dtype::float32:
      return f(TypeTag<float>{});
    case Dtype::float64:
      return f(TypeTag<double>{});
    case Dtype::complex64:
      break;
  }
  return f(TypeTag<complex64_t>{});
}

} // namespace narrows
