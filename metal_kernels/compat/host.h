// The emulated GPU's view: kernels are C++ functions that an engine calls for each thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "host_abi.h"

#define METAL_HAS_FLOAT64 1
#define METAL_FUNC inline __attribute__((always_inline))
#define METAL_UNROLL
#define METAL_ROLLED
#define METAL_EMU_KERNEL

namespace metal {

inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline uint16_t half_from_float(float x) {
  const uint32_t sign = (bits_of(x) >> 16) & 0x8000u;
  const uint32_t magnitude = bits_of(x) & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u | ((magnitude >> 13) & 0x3ffu); // NaN
  } else if (magnitude >= 0x477ff000u) {
    result = 0x7c00u; // rounds to infinity
  } else if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 lines up the last bits and rounds.
    result = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return uint16_t(result | sign);
}
inline float half_to_float(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  const float scaled = float_of(magnitude << 13) * 0x1p112f;
  return float_of(bits_of(scaled) | (magnitude >= 0x7c00u ? 0x7f800000u : 0u) | sign);
}
inline uint16_t bfloat_from_float(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return uint16_t((bits >> 16) | 0x40u);
  }
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float bfloat_to_float(uint16_t bits) {
  return float_of(uint32_t(bits) << 16);
}

} // namespace metal

#define METAL_EMU_HALF_NAME half_bits
#define METAL_EMU_HALF_BITS uint16_t
#define METAL_EMU_BFLOAT_BITS uint16_t
#define METAL_EMU_RSQRT(x) (1.0f / ::sqrtf(x))
#include "types.h"

namespace metal_emu {

// One for each signature, shared by its kernels.
template <typename... P>
struct Caller {
  using S = Signature<P...>;
  template <size_t I>
  using At = std::tuple_element_t<I, std::tuple<P...>>;

  template <size_t I>
  static METAL_FUNC decltype(auto) argument(const ThreadContext& context) {
    using T = At<I>;
    constexpr Parameter kParameter = S::kTable.at[I];
    if constexpr (kParameter.kind == Kind::tag) {
      return T{};
    } else if constexpr (kParameter.kind == Kind::position) {
      const unsigned* position = context.positions[kParameter.index];
      return PositionAs<T>::from(position[0], position[1], position[2]);
    } else if constexpr (std::is_reference_v<T>) {
      void* address = context.buffers[kParameter.index];
      return static_cast<T>(*static_cast<std::remove_reference_t<T>*>(address));
    } else {
      return static_cast<T>(context.buffers[kParameter.index]);
    }
  }
  template <auto kFunction, size_t... I>
  static METAL_FUNC void call(const ThreadContext& context, std::index_sequence<I...>) {
    kFunction(argument<I>(context)...);
  }
  template <auto kFunction>
  static void run(const ThreadContext& context) {
    call<kFunction>(context, std::index_sequence_for<P...>{});
  }
};

template <typename... P>
Caller<P...> caller_of(void (*)(P...));

template <typename... P>
void register_kernel(const char* name, void (*)(P...), ThreadFunction entry) {
  add_kernel(name, parameters_of<P...>(), reinterpret_cast<void*>(entry));
}

struct Registrar {
  template <typename F>
  Registrar(const char* name, F function, ThreadFunction entry) {
    register_kernel(name, function, entry);
  }
};

} // namespace metal_emu

#define METAL_EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace metal {

inline void threadgroup_barrier(mem_flags, METAL_EMU_SITE) {
  metal_emu::barrier(file, line);
}
inline void simdgroup_barrier(mem_flags, METAL_EMU_SITE) {
  metal_emu::simd_exchange(nullptr, 0, "simdgroup_barrier", file, line);
}
inline uint atomic_exchange_explicit(atomic_uint* object, uint desired, memory_order) {
  return __atomic_exchange_n(&object->value, desired, __ATOMIC_RELAXED);
}

namespace emu {

template <typename T>
struct Lanes {
  const unsigned char* deposits;
  T operator[](unsigned i) const {
    T value;
    memcpy(&value, deposits + 64 * (i % 32), sizeof(T));
    return value;
  }
};
template <typename T>
Lanes<T> exchange(const T& value, const char* function, const char* file, int line) {
  static_assert(sizeof(T) <= 64 && std::is_trivially_copyable_v<T>, "simd exchange type");
  return {metal_emu::simd_exchange(&value, sizeof(T), function, file, line)};
}

} // namespace emu

template <typename T>
T simd_shuffle(T value, ushort lane, METAL_EMU_SITE) {
  return emu::exchange(value, "simd_shuffle", file, line)[lane];
}
template <typename T>
T simd_shuffle_xor(T value, ushort mask, METAL_EMU_SITE) {
  const auto lanes = emu::exchange(value, "simd_shuffle_xor", file, line);
  return lanes[metal_emu::simd_lane() ^ mask];
}
template <typename T>
T simd_shuffle_up(T value, ushort distance, METAL_EMU_SITE) {
  const auto lanes = emu::exchange(value, "simd_shuffle_up", file, line);
  const unsigned lane = metal_emu::simd_lane();
  return lane >= distance ? lanes[lane - distance] : value;
}

template <typename T, int R, int C>
struct simdgroup_matrix;
// Two elements of each lane, in Apple's order.
template <typename T>
struct simdgroup_matrix<T, 8, 8> {
  T elements[2];
};

namespace emu {
inline unsigned matrix_row(unsigned lane) {
  return ((lane / 4) & 4u) + (lane / 2) % 4;
}
inline unsigned matrix_column(unsigned lane) {
  return ((lane / 4) & 2u) * 2 + (lane % 2) * 2;
}
} // namespace emu

template <typename T, int R, int C>
simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T value) {
  return {{value, value}};
}
template <typename T>
void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, const T* from, ulong stride) {
  const unsigned lane = metal_emu::simd_lane();
  for (unsigned k = 0; k < 2; ++k) {
    matrix.elements[k] = from[emu::matrix_row(lane) * stride + emu::matrix_column(lane) + k];
  }
}
template <typename T>
void simdgroup_store(const simdgroup_matrix<T, 8, 8>& matrix, T* to, ulong stride) {
  const unsigned lane = metal_emu::simd_lane();
  for (unsigned k = 0; k < 2; ++k) {
    to[emu::matrix_row(lane) * stride + emu::matrix_column(lane) + k] = matrix.elements[k];
  }
}
template <typename T>
void simdgroup_multiply_accumulate(
    simdgroup_matrix<float, 8, 8>& d,
    const simdgroup_matrix<T, 8, 8>& a,
    const simdgroup_matrix<T, 8, 8>& b,
    const simdgroup_matrix<float, 8, 8>& c,
    METAL_EMU_SITE) {
  struct Pair {
    simdgroup_matrix<T, 8, 8> a, b;
  };
  const auto lanes = emu::exchange(Pair{a, b}, "simdgroup_multiply_accumulate", file, line);
  float left[8][8], right[8][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const Pair pair = lanes[lane];
    for (unsigned k = 0; k < 2; ++k) {
      const unsigned column = emu::matrix_column(lane) + k;
      left[emu::matrix_row(lane)][column] = float(pair.a.elements[k]);
      right[emu::matrix_row(lane)][column] = float(pair.b.elements[k]);
    }
  }
  const unsigned row = emu::matrix_row(metal_emu::simd_lane());
  const unsigned column = emu::matrix_column(metal_emu::simd_lane());
  for (unsigned k = 0; k < 2; ++k) {
    float sum = c.elements[k];
    for (unsigned j = 0; j < 8; ++j) {
      sum += left[row][j] * right[j][column + k];
    }
    d.elements[k] = sum;
  }
}

} // namespace metal

#define THREADGROUP_ARRAY(T, name, dims) \
  T(&name) dims = *static_cast<T(*) dims>(::metal_emu::threadgroup_array(sizeof(T dims), #name))
#define INSTANTIATE_KERNEL(host_name_, fn, ...)                                       \
  static const ::metal_emu::Registrar METAL_EMU_JOIN(metal_emu_kernel_, __COUNTER__)( \
      host_name_,                                                                     \
      &fn<__VA_ARGS__>,                                                               \
      &decltype(::metal_emu::caller_of(&fn<__VA_ARGS__>))::template run<&fn<__VA_ARGS__>>);
#define REGISTER_KERNEL(fn)                                                           \
  static const ::metal_emu::Registrar METAL_EMU_JOIN(metal_emu_kernel_, __COUNTER__)( \
      #fn, &fn, &decltype(::metal_emu::caller_of(&fn))::template run<&fn>);

#include "rename.h"

#include "keywords.h"
