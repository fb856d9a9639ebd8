// The names that kernel files use without metal::, which are those of types, barriers and simdgroup
// functions. Where the platform owns a name at global scope, as CUDA does ::float4, it is renamed.
#pragma once

namespace metal {
#define METAL_EMU_VECTORS(T, Element) \
  using emu_##T##2 = vec<Element, 2>; \
  using emu_##T##4 = vec<Element, 4>;
METAL_EMU_VECTORS(float, float)
METAL_EMU_VECTORS(half, emu_half)
METAL_EMU_VECTORS(int, int)
METAL_EMU_VECTORS(uint, uint)
#undef METAL_EMU_VECTORS
using emu_uint3 = vec<uint, 3>;
} // namespace metal

using metal::as_type;
using metal::atomic_exchange_explicit;
using metal::atomic_uint;
using metal::make_filled_simdgroup_matrix;
using metal::mem_flags;
using metal::memory_order_relaxed;
using metal::simd_shuffle;
using metal::simd_shuffle_up;
using metal::simd_shuffle_xor;
using metal::simdgroup_barrier;
using metal::simdgroup_load;
using metal::simdgroup_matrix;
using metal::simdgroup_multiply_accumulate;
using metal::simdgroup_store;
using metal::threadgroup_barrier;
using metal::uint;
using metal::ulong;
using metal::ushort;
using metal::vec;

#define half ::metal::emu_half
#define bfloat ::metal::bfloat
#define float2 ::metal::emu_float2
#define float4 ::metal::emu_float4
#define half2 ::metal::emu_half2
#define half4 ::metal::emu_half4
#define int2 ::metal::emu_int2
#define int4 ::metal::emu_int4
#define uint2 ::metal::emu_uint2
#define uint3 ::metal::emu_uint3
#define uint4 ::metal::emu_uint4
