#include "narrows/backend/mpi/reductions.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "narrows/core/half.h"

namespace narrows::mpi {
namespace {

bool is_nan(float a) {
  return std::isnan(a);
}
bool is_nan(double a) {
  return std::isnan(a);
}
bool is_nan(complex64_t a) {
  return std::isnan(a.real()) || std::isnan(a.imag());
}
template <typename T>
bool is_greater(T a, T b) {
  return a > b;
}
bool is_greater(complex64_t a, complex64_t b) {
  return a.real() > b.real() || (a.real() == b.real() && a.imag() > b.imag());
}

struct Sum {
  template <typename T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <typename T>
  T operator()(T a, T b) const {
    return is_greater(a, b) || is_nan(a) ? a : b;
  }
};
struct Min {
  template <typename T>
  T operator()(T a, T b) const {
    return is_greater(b, a) || is_nan(a) ? a : b;
  }
};

template <typename T>
struct ComputedAs {
  using Type = T;
};
template <>
struct ComputedAs<float16_t> {
  using Type = float;
};
template <>
struct ComputedAs<bfloat16_t> {
  using Type = float;
};

// What MPI calls: `with` is combined with `into`, element by element.
template <typename T, typename Op>
void combine(void* with, void* into, int* count, Handle*) {
  using Computed = typename ComputedAs<T>::Type;
  const T* a = static_cast<const T*>(with);
  T* b = static_cast<T*>(into);
  for (int i = 0; i < *count; ++i) {
    b[i] = T(Op()(static_cast<Computed>(a[i]), static_cast<Computed>(b[i])));
  }
}

using Function = void (*)(void*, void*, int*, Handle*);

// An operation that MPI does not have; nullptr if it has it.
template <typename Op>
Function function_for(Dtype dtype) {
  constexpr bool is_sum = std::is_same_v<Op, Sum>;
  switch (dtype) {
    case float16:
      return combine<float16_t, Op>;
    case bfloat16:
      return combine<bfloat16_t, Op>;
    case float32:
      return is_sum ? nullptr : combine<float, Op>;
    case float64:
      return is_sum ? nullptr : combine<double, Op>;
    case complex64:
      return is_sum ? nullptr : combine<complex64_t, Op>;
    default:
      return nullptr;
  }
}

Type type_of(Dtype dtype) {
  switch (dtype) {
    case int8:
      return Type::i8;
    case int16:
      return Type::i16;
    case int32:
      return Type::i32;
    case int64:
      return Type::i64;
    case bool_:
    case uint8:
      return Type::u8;
    case uint16:
    case float16:
    case bfloat16:
      return Type::u16;
    case uint32:
      return Type::u32;
    case uint64:
      return Type::u64;
    case float64:
      return Type::f64;
    default:
      return Type::f32;
  }
}

// The operation of a function, made once.
Handle own_op(Library& library, CollectiveOp op, Dtype dtype, Function function) {
  static std::mutex mutex;
  static std::array<std::array<Handle, kDtypeCount>, 3> made{};
  std::lock_guard lock(mutex);
  Handle& handle = made[static_cast<size_t>(op)][static_cast<size_t>(dtype)];
  if (!handle) {
    library.call(library.Op_create, function, 1, &handle);
  }
  return handle;
}

} // namespace

Reduction reduction_of(Library& library, CollectiveOp op, Dtype dtype) {
  const bool is_max = op == CollectiveOp::all_max;
  const bool is_min = op == CollectiveOp::all_min;
  const CollectiveOp kind = is_max || is_min ? op : CollectiveOp::all_sum;
  const Function function = is_max   ? function_for<Max>(dtype)
                            : is_min ? function_for<Min>(dtype)
                                     : function_for<Sum>(dtype);
  if (function) {
    const Type type = dtype == complex64 ? Type::u64
                      : dtype == float32 ? Type::f32
                      : dtype == float64 ? Type::f64
                                         : Type::u16;
    return {own_op(library, kind, dtype, function), library.type(type), 1};
  }
  const Handle of_mpi = is_min                     ? library.abi.min
                        : is_max || dtype == bool_ ? library.abi.max
                                                   : library.abi.sum;
  return {of_mpi, library.type(type_of(dtype)), dtype == complex64 ? 2 : 1};
}

} // namespace narrows::mpi
