// The view of kernels whose text is made and compiled at run time, by NVRTC, which has no system
// headers. Such kernels have the signature of a __global__ function; nothing else tells this view
// from that of compat/cuda.h.
#pragma once

typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef unsigned long size_t;

// CUDA's own __device__ may mean __attribute__((device)), and `device` becomes a macro below.
#undef __device__
#define __device__ __attribute__((__device__))
#undef __constant__
#define __constant__ __attribute__((__constant__))

#undef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#undef NAN
#define NAN __int_as_float(0x7fffffff)

#define METAL_HAS_FLOAT64 1
#define METAL_FUNC inline __device__ __attribute__((always_inline))
#define METAL_UNROLL _Pragma("unroll")
#define METAL_ROLLED _Pragma("unroll 1")
#define METAL_EMU_KERNEL __device__
#define METAL_EMU_DEVICE __device__ __forceinline__

// What as_type() of types.h calls.
#define __builtin_memcpy memcpy

// What types.h needs of <type_traits>.
namespace std {
template <bool kValue>
struct Constant {
  static constexpr bool value = kValue;
};
template <typename A, typename B>
inline constexpr bool is_same_v = false;
template <typename T>
inline constexpr bool is_same_v<T, T> = true;
template <typename T>
inline constexpr bool is_integral_v = false;
#define METAL_EMU_INTEGRAL(T) \
  template <>                 \
  inline constexpr bool is_integral_v<T> = true;
METAL_EMU_INTEGRAL(bool)
METAL_EMU_INTEGRAL(int8_t)
METAL_EMU_INTEGRAL(int16_t)
METAL_EMU_INTEGRAL(int32_t)
METAL_EMU_INTEGRAL(int64_t)
METAL_EMU_INTEGRAL(uint8_t)
METAL_EMU_INTEGRAL(uint16_t)
METAL_EMU_INTEGRAL(uint32_t)
METAL_EMU_INTEGRAL(uint64_t)
METAL_EMU_INTEGRAL(long long)
METAL_EMU_INTEGRAL(unsigned long long)
#undef METAL_EMU_INTEGRAL
template <typename T>
struct is_integral : Constant<is_integral_v<T>> {};
template <typename T>
struct is_arithmetic : Constant<is_integral_v<T> || is_same_v<T, float> || is_same_v<T, double>> {};
template <typename T, bool kIsArithmetic = is_arithmetic<T>::value>
inline constexpr bool is_signed_v = false;
template <typename T>
inline constexpr bool is_signed_v<T, true> = T(-1) < T(0);
template <bool kValue, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool kValue, typename T = void>
using enable_if_t = typename enable_if<kValue, T>::type;
} // namespace std

namespace metal {

METAL_FUNC unsigned short half_from_float(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
METAL_FUNC float half_to_float(unsigned short bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
METAL_FUNC unsigned short bfloat_from_float(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
METAL_FUNC float bfloat_to_float(unsigned short bits) {
  return __uint_as_float(unsigned(bits) << 16);
}

} // namespace metal

namespace metal_emu {
template <typename T>
struct WidthOf {
  static constexpr int value = 1;
};
} // namespace metal_emu

#define METAL_EMU_HALF_NAME half_bits
#define METAL_EMU_HALF_BITS unsigned short
#define METAL_EMU_BFLOAT_BITS unsigned short
#define METAL_EMU_RSQRT(x) ::rsqrtf(x)
#include "types.h"

#include "cuda_simd.h"

// Such kernels use no matrices.
namespace metal {
template <typename T, int R, int C>
struct simdgroup_matrix;
void make_filled_simdgroup_matrix();
void simdgroup_load();
void simdgroup_store();
void simdgroup_multiply_accumulate();
} // namespace metal

#define THREADGROUP_ARRAY(T, name, dims) __shared__ __attribute__((aligned(16))) T name dims

#include "rename.h"

#include "keywords.h"
