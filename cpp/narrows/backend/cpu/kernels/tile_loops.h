// Turns functors into tile kernels: the loops, the C++ types of dtypes, and which row of
// elementwise.def has kernels for which types.
//
// Everything is in an unnamed namespace, because each source file that includes this is compiled
// once per instruction set.
#pragma once

#include "narrows/backend/cpu/kernels/scalar_math.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"

#include "metal_kernels/functors.h"

// The compiler need not fear that a store changes a later load: inputs are `out` or apart from it.
#if defined(__clang__)
#define NARROWS_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define NARROWS_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace narrows::cpu::NARROWS_ISA {
namespace {

// What an element is in memory. A byte that should be a bool may hold any value.
template <typename T>
struct Stored {
  using type = T;
};
template <>
struct Stored<bool> {
  using type = uint8_t;
};
template <typename T>
using stored_t = typename Stored<T>::type;

template <typename T>
METAL_FUNC T load(stored_t<T> value) {
  if constexpr (__is_same(T, bool)) {
    return value != 0;
  } else {
    return value;
  }
}

template <typename Functor, typename T>
void unary_loop(const void* const* in, void* out, int64_t n) {
  using R = decltype(Functor()(T()));
  const auto* a = static_cast<const stored_t<T>*>(in[0]);
  auto* o = static_cast<stored_t<R>*>(out);
  NARROWS_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    o[i] = stored_t<R>(Functor()(load<T>(a[i])));
  }
}

template <typename Functor, typename T>
void binary_loop(const void* const* in, void* out, int64_t n) {
  using R = decltype(Functor()(T(), T()));
  const auto* a = static_cast<const stored_t<T>*>(in[0]);
  const auto* b = static_cast<const stored_t<T>*>(in[1]);
  auto* o = static_cast<stored_t<R>*>(out);
  NARROWS_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    o[i] = stored_t<R>(Functor()(load<T>(a[i]), load<T>(b[i])));
  }
}

// The column `kernels` of elementwise.def.
enum class KernelTypes { any, numeric, real, inexact, floating, integral, boolean };

constexpr bool includes(KernelTypes types, Dtype dtype) {
  const bool floating = is_floating(dtype);
  switch (types) {
    case KernelTypes::any:
      return true;
    case KernelTypes::numeric:
      return dtype != Dtype::bool_;
    case KernelTypes::real:
      return dtype != Dtype::complex64;
    case KernelTypes::inexact:
      return floating || dtype == Dtype::complex64;
    case KernelTypes::floating:
      return floating;
    case KernelTypes::integral:
      return !floating && dtype != Dtype::complex64;
    case KernelTypes::boolean:
      return dtype == Dtype::bool_;
  }
  return false;
}

template <typename T>
struct DtypeOf;
#define NARROWS_DTYPE_OF(type, name)            \
  template <>                                   \
  struct DtypeOf<type> {                        \
    static constexpr Dtype value = Dtype::name; \
  };
NARROWS_DTYPE_OF(bool, bool_)
NARROWS_DTYPE_OF(uint8_t, uint8)
NARROWS_DTYPE_OF(uint16_t, uint16)
NARROWS_DTYPE_OF(uint32_t, uint32)
NARROWS_DTYPE_OF(uint64_t, uint64)
NARROWS_DTYPE_OF(int8_t, int8)
NARROWS_DTYPE_OF(int16_t, int16)
NARROWS_DTYPE_OF(int32_t, int32)
NARROWS_DTYPE_OF(int64_t, int64)
NARROWS_DTYPE_OF(float, float32)
NARROWS_DTYPE_OF(double, float64)
NARROWS_DTYPE_OF(complex64_t, complex64)
#undef NARROWS_DTYPE_OF

// Fills a row's entries for those of Types that the operation is defined for.
template <typename Functor, int kArity, KernelTypes kTypes, typename... Types>
struct RowOf {
  static METAL_FUNC void fill(TileKernel* row) {
    (fill_one<Types>(row), ...);
  }
  template <typename T>
  static METAL_FUNC void fill_one(TileKernel* row) {
    constexpr Dtype kDtype = DtypeOf<T>::value;
    if constexpr (includes(kTypes, kDtype)) {
      if constexpr (kArity == 1) {
        row[static_cast<int>(kDtype)] = unary_loop<Functor, T>;
      } else {
        row[static_cast<int>(kDtype)] = binary_loop<Functor, T>;
      }
    }
  }
};

template <int kWantedArity, typename... Types>
METAL_FUNC void fill_rows(TileKernels& table) {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  if constexpr (arity == kWantedArity) {                                              \
    RowOf<functor, arity, KernelTypes::kernels, Types...>::fill(                      \
        table.elementwise[static_cast<int>(ElementwiseOp::name)]);                    \
  }
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
