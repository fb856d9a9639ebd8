// MSL's scalar and vector types and its math for the CUDA and host views.
//
// The header that includes this defines METAL_FUNC and, in namespace metal, the conversions
// half_from_float, half_to_float, bfloat_from_float and bfloat_to_float.
#pragma once

namespace metal {

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

template <typename T>
inline constexpr bool is_integral_v = std::is_integral_v<T>;
template <typename T>
inline constexpr bool is_signed_v = std::is_signed_v<T>;
template <typename A, typename B>
inline constexpr bool is_same_v = std::is_same_v<A, B>;

// 16-bit floats convert to and from other numbers, and compute in float. Apple GPUs round every
// operation on them to 16 bits, so kernels that want float say so.
#define METAL_EMU_HALF(Name, Bits, from_float, to_float)                             \
  struct Name {                                                                      \
    Bits bits;                                                                       \
    Name() = default;                                                                \
    template <typename U, typename = std::enable_if_t<std::is_arithmetic<U>::value>> \
    METAL_FUNC Name(U x) : bits(from_float(float(x))) {                              \
    }                                                                                \
    METAL_FUNC operator float() const {                                              \
      return to_float(bits);                                                         \
    }                                                                                \
  };
METAL_EMU_HALF(METAL_EMU_HALF_NAME, METAL_EMU_HALF_BITS, half_from_float, half_to_float)
METAL_EMU_HALF(bfloat, METAL_EMU_BFLOAT_BITS, bfloat_from_float, bfloat_to_float)
#undef METAL_EMU_HALF
using emu_half = METAL_EMU_HALF_NAME;

template <typename T, int N>
struct vec;
template <typename T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
  T x, y;
  vec() = default;
  METAL_FUNC explicit vec(T s) : x(s), y(s) {
  }
  METAL_FUNC vec(T a, T b) : x(a), y(b) {
  }
  METAL_FUNC T& operator[](int i) {
    return (&x)[i];
  }
  METAL_FUNC const T& operator[](int i) const {
    return (&x)[i];
  }
};
template <typename T>
struct alignas(4 * sizeof(T)) vec<T, 3> {
  T x, y, z;
  vec() = default;
  METAL_FUNC vec(T a, T b, T c) : x(a), y(b), z(c) {
  }
};
template <typename T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
  T x, y, z, w;
  vec() = default;
  METAL_FUNC explicit vec(T s) : x(s), y(s), z(s), w(s) {
  }
  METAL_FUNC vec(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {
  }
  METAL_FUNC T& operator[](int i) {
    return (&x)[i];
  }
  METAL_FUNC const T& operator[](int i) const {
    return (&x)[i];
  }
};

template <typename T, typename U>
METAL_FUNC T as_type(U value) {
  static_assert(sizeof(T) == sizeof(U), "as_type needs equal sizes");
  T result;
  __builtin_memcpy(&result, &value, sizeof(T));
  return result;
}

// Kernels call these qualified: unqualified names would collide with <math.h>. Metal has no math
// on bfloat.
#define METAL_EMU_MATH1(name)        \
  METAL_FUNC float name(float x) {   \
    return ::name##f(x);             \
  }                                  \
  METAL_FUNC double name(double x) { \
    return ::name(x);                \
  }                                  \
  bfloat name(bfloat) = delete;
METAL_EMU_MATH1(acos)
METAL_EMU_MATH1(acosh)
METAL_EMU_MATH1(asin)
METAL_EMU_MATH1(asinh)
METAL_EMU_MATH1(atan)
METAL_EMU_MATH1(atanh)
METAL_EMU_MATH1(ceil)
METAL_EMU_MATH1(cos)
METAL_EMU_MATH1(cosh)
METAL_EMU_MATH1(exp)
METAL_EMU_MATH1(floor)
METAL_EMU_MATH1(log)
METAL_EMU_MATH1(log10)
METAL_EMU_MATH1(log2)
METAL_EMU_MATH1(rint)
METAL_EMU_MATH1(sin)
METAL_EMU_MATH1(sinh)
METAL_EMU_MATH1(sqrt)
METAL_EMU_MATH1(tan)
METAL_EMU_MATH1(tanh)
#undef METAL_EMU_MATH1
#define METAL_EMU_MATH2(name)                  \
  METAL_FUNC float name(float x, float y) {    \
    return ::name##f(x, y);                    \
  }                                            \
  METAL_FUNC double name(double x, double y) { \
    return ::name(x, y);                       \
  }                                            \
  bfloat name(bfloat, bfloat) = delete;
METAL_EMU_MATH2(atan2)
METAL_EMU_MATH2(copysign)
METAL_EMU_MATH2(fmod)
METAL_EMU_MATH2(pow)
#undef METAL_EMU_MATH2

METAL_FUNC float abs(float x) {
  return ::fabsf(x);
}
METAL_FUNC double abs(double x) {
  return ::fabs(x);
}
bfloat abs(bfloat) = delete;
METAL_FUNC float rsqrt(float x) {
  return METAL_EMU_RSQRT(x);
}
METAL_FUNC double rsqrt(double x) {
  return 1.0 / ::sqrt(x);
}
METAL_FUNC float fma(float a, float b, float c) {
  return ::fmaf(a, b, c);
}
METAL_FUNC double fma(double a, double b, double c) {
  return ::fma(a, b, c);
}
template <typename T, typename = std::enable_if_t<std::is_integral<T>::value>>
METAL_FUNC T min(T a, T b) {
  return a < b ? a : b;
}
template <typename T, typename = std::enable_if_t<std::is_integral<T>::value>>
METAL_FUNC T max(T a, T b) {
  return a > b ? a : b;
}

// Exchanging a number is the only atomic operation. The views define others beside their barriers.
struct atomic_uint {
  uint value;
};
enum memory_order { memory_order_relaxed };

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };

} // namespace metal

namespace metal_emu {

template <typename T, int N>
struct WidthOf<metal::vec<T, N>> {
  static constexpr int value = N;
};

// A position, stored as three numbers, in the type that the kernel declares.
template <typename T>
struct PositionAs {
  static METAL_FUNC T from(unsigned x, unsigned, unsigned) {
    return T(x);
  }
};
template <typename T>
struct PositionAs<metal::vec<T, 2>> {
  static METAL_FUNC metal::vec<T, 2> from(unsigned x, unsigned y, unsigned) {
    return {T(x), T(y)};
  }
};
template <typename T>
struct PositionAs<metal::vec<T, 3>> {
  static METAL_FUNC metal::vec<T, 3> from(unsigned x, unsigned y, unsigned z) {
    return {T(x), T(y), T(z)};
  }
};

} // namespace metal_emu
