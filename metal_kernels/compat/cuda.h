// The CUDA view: a Metal kernel becomes a __device__ function, which one __global__ template calls
// with the buffers and the thread positions.
//
// A kernel's buffers are the __global__ function's parameters in the order of its signature, after
// the LaunchInfo: pointers, and what `constant T&` refers to by value.
#pragma once

#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "signature.h"

#define METAL_HAS_FLOAT64 1
#define METAL_FUNC inline __device__ __attribute__((always_inline))
#define METAL_UNROLL _Pragma("unroll")
#define METAL_ROLLED _Pragma("unroll 1")
#define METAL_EMU_KERNEL __device__
#define METAL_EMU_DEVICE __device__ __forceinline__

namespace metal {

METAL_FUNC __half half_from_float(float x) {
  return __float2half_rn(x);
}
METAL_FUNC float half_to_float(__half x) {
  return __half2float(x);
}
METAL_FUNC __nv_bfloat16 bfloat_from_float(float x) {
  return __float2bfloat16_rn(x);
}
METAL_FUNC float bfloat_to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

} // namespace metal

#define METAL_EMU_HALF_NAME half_bits
#define METAL_EMU_HALF_BITS __half
#define METAL_EMU_BFLOAT_BITS __nv_bfloat16
#define METAL_EMU_RSQRT(x) ::rsqrtf(x)
#include "types.h"

namespace metal_emu {

// Threadgroups are one-dimensional and whole; the grid has up to three dimensions.
template <Position kPosition>
METAL_EMU_DEVICE unsigned position_value(int d) {
  const unsigned group = d == 0 ? blockIdx.x : d == 1 ? blockIdx.y : blockIdx.z;
  const unsigned groups = d == 0 ? gridDim.x : d == 1 ? gridDim.y : gridDim.z;
  if constexpr (kPosition == Position::thread_position_in_grid) {
    return d == 0 ? group * blockDim.x + threadIdx.x : group;
  } else if constexpr (kPosition == Position::thread_position_in_threadgroup) {
    return d == 0 ? threadIdx.x : 0u;
  } else if constexpr (kPosition == Position::thread_index_in_threadgroup) {
    return threadIdx.x;
  } else if constexpr (kPosition == Position::threadgroup_position_in_grid) {
    return group;
  } else if constexpr (kPosition == Position::threads_per_grid) {
    return d == 0 ? groups * blockDim.x : groups;
  } else if constexpr (kPosition == Position::threads_per_threadgroup) {
    return d == 0 ? blockDim.x : 1u;
  } else if constexpr (kPosition == Position::threadgroups_per_grid) {
    return groups;
  } else if constexpr (kPosition == Position::thread_index_in_simdgroup) {
    return threadIdx.x % 32;
  } else if constexpr (kPosition == Position::simdgroup_index_in_threadgroup) {
    return threadIdx.x / 32;
  } else if constexpr (kPosition == Position::simdgroups_per_threadgroup) {
    return (blockDim.x + 31) / 32;
  } else {
    return 32;
  }
}

template <size_t kSlot, typename A, typename... Rest>
METAL_EMU_DEVICE const auto& pick(const A& first, const Rest&... rest) {
  if constexpr (kSlot == 0) {
    return first;
  } else {
    return pick<kSlot - 1>(rest...);
  }
}

template <typename F>
struct Caller;
template <typename... P>
struct Caller<void (*)(P...)> {
  using S = Signature<P...>;
  template <size_t I>
  using At = std::tuple_element_t<I, std::tuple<P...>>;

  template <size_t I, typename... A>
  METAL_EMU_DEVICE static decltype(auto) argument(const A&... stored) {
    using T = At<I>;
    constexpr Kind kKind = S::kTable.at[I].kind;
    constexpr int kIndex = S::kTable.at[I].index;
    constexpr int kSlot = S::kTable.at[I].slot;
    if constexpr (kKind == Kind::tag) {
      return T{};
    } else if constexpr (kKind == Kind::position) {
      return PositionAs<T>::from(
          position_value<Position(kIndex)>(0),
          position_value<Position(kIndex)>(1),
          position_value<Position(kIndex)>(2));
    } else if constexpr (kKind == Kind::pointer && std::is_reference_v<T>) {
      return static_cast<T>(*pick<size_t(kSlot)>(stored...));
    } else {
      return static_cast<T>(pick<size_t(kSlot)>(stored...));
    }
  }
  template <auto kFunction, size_t... I, typename... A>
  METAL_EMU_DEVICE static void call(std::index_sequence<I...>, const A&... stored) {
    kFunction(argument<I>(stored...)...);
  }
};

template <auto kFunction, typename... A>
__global__ void entry(const __grid_constant__ A... stored) {
  using C = Caller<decltype(kFunction)>;
  C::template call<kFunction>(std::make_index_sequence<C::S::kCount>{}, stored...);
}

template <auto kFunction, typename... P, size_t... kSlots>
void* entry_address(void (*)(P...), std::index_sequence<kSlots...>) {
  using S = Signature<P...>;
  using All = std::tuple<P...>;
  return reinterpret_cast<void*>(
      &entry<
          kFunction,
          typename StorageOf<std::tuple_element_t<S::place_of(kSlots), All>>::type...>);
}
template <typename... P>
std::make_index_sequence<Signature<P...>::stored()> slots_of(void (*)(P...));
template <typename... P>
std::vector<Parameter> parameters_of_function(void (*)(P...)) {
  return parameters_of<P...>();
}

template <auto kFunction>
struct Registrar {
  explicit Registrar(const char* name) {
    using F = decltype(kFunction);
    add_kernel(
        name,
        parameters_of_function(F(nullptr)),
        entry_address<kFunction>(F(nullptr), decltype(slots_of(F(nullptr))){}));
  }
};

} // namespace metal_emu

#include "cuda_simd.h"

namespace metal {

// Tensor cores. The lanes' elements are in the order of mma.sync, not in Apple's: row lane / 4,
// columns 2 * (lane % 4) and the next.
template <typename T, int R, int C>
struct simdgroup_matrix;
template <typename T>
struct simdgroup_matrix<T, 8, 8> {
  T elements[2];
  // 16-bit elements of the transposed matrix in that order, which mma.sync needs on the right.
  unsigned transposed;

  METAL_EMU_DEVICE void transpose() {
    if constexpr (sizeof(T) == 2) {
      unsigned word;
      memcpy(&word, elements, 4);
      asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(word));
    }
  }
};

template <typename T, int R, int C>
METAL_EMU_DEVICE simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, R, C> matrix;
  matrix.elements[0] = matrix.elements[1] = value;
  matrix.transpose();
  return matrix;
}
template <typename T>
METAL_EMU_DEVICE void simdgroup_load(
    simdgroup_matrix<T, 8, 8>& matrix, const T* from, ulong stride) {
  const unsigned row = emu::lane() / 4;
  const unsigned column = emu::lane() % 4 * 2;
  matrix.elements[0] = from[row * unsigned(stride) + column];
  matrix.elements[1] = from[row * unsigned(stride) + column + 1];
  matrix.transpose();
}
template <typename T>
METAL_EMU_DEVICE void simdgroup_store(
    const simdgroup_matrix<T, 8, 8>& matrix, T* to, ulong stride) {
  const unsigned row = emu::lane() / 4;
  const unsigned column = emu::lane() % 4 * 2;
  to[row * stride + column] = matrix.elements[0];
  to[row * stride + column + 1] = matrix.elements[1];
}
template <typename T>
METAL_EMU_DEVICE void simdgroup_multiply_accumulate(
    simdgroup_matrix<float, 8, 8>& d,
    const simdgroup_matrix<T, 8, 8>& a,
    const simdgroup_matrix<T, 8, 8>& b,
    const simdgroup_matrix<float, 8, 8>& c) {
  static_assert(sizeof(T) == 2, "16-bit elements");
  // One m16n8k8 product, with zeros in the lower eight rows.
  unsigned left;
  memcpy(&left, a.elements, 4);
  float unused0, unused1;
  if constexpr (std::is_same_v<T, bfloat>) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%9};"
        : "=f"(d.elements[0]), "=f"(d.elements[1]), "=f"(unused0), "=f"(unused1)
        : "r"(left), "r"(0), "r"(b.transposed), "f"(c.elements[0]), "f"(c.elements[1]), "f"(0.0f));
  } else {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%9};"
        : "=f"(d.elements[0]), "=f"(d.elements[1]), "=f"(unused0), "=f"(unused1)
        : "r"(left), "r"(0), "r"(b.transposed), "f"(c.elements[0]), "f"(c.elements[1]), "f"(0.0f));
  }
}

} // namespace metal

#define THREADGROUP_ARRAY(T, name, dims) __shared__ __attribute__((aligned(16))) T name dims
#define INSTANTIATE_KERNEL(host_name_, fn, ...)                         \
  static const ::metal_emu::Registrar<&fn<__VA_ARGS__>> METAL_EMU_JOIN( \
      metal_emu_kernel_, __COUNTER__)(host_name_);
#define REGISTER_KERNEL(fn) \
  static const ::metal_emu::Registrar<&fn> METAL_EMU_JOIN(metal_emu_kernel_, __COUNTER__)(#fn);

// CUDA's own __device__ means __attribute__((device)), and `device` becomes a macro below.
#undef __device__
#define __device__ __attribute__((__device__))
#undef __constant__
#define __constant__ __attribute__((__constant__))

#include "rename.h"

#include "keywords.h"
