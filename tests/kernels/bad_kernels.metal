// Kernels with planted mistakes. The emulated GPU must report each of them.
#include "metal_kernels/common.h"

kernel void bad_barrier_not_reached(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  if (lid < 40) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  out[lid] = 1.0f;
}
REGISTER_KERNEL(bad_barrier_not_reached)

kernel void bad_different_barriers(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  if (lid < 32) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  out[lid] = 1.0f;
}
REGISTER_KERNEL(bad_different_barriers)

kernel void bad_simd_not_reached(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  float value = 1.0f;
  if (lid % 2 == 0) {
    value = simd_shuffle_xor(value, ushort(2));
  }
  out[lid] = value;
}
REGISTER_KERNEL(bad_simd_not_reached)

kernel void bad_simd_diverges(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  float value = 1.0f;
  if (lid % 2 == 0) {
    value = simd_shuffle_xor(value, ushort(2));
  } else {
    value = simd_shuffle_up(value, ushort(2));
  }
  out[lid] = value;
}
REGISTER_KERNEL(bad_simd_diverges)

kernel void bad_threadgroup_size(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(float, first, [4000]);
  THREADGROUP_ARRAY(float, second, [4200]);
  first[lid] = 1.0f;
  second[lid] = 1.0f;
  out[lid] = first[lid] + second[lid];
}
REGISTER_KERNEL(bad_threadgroup_size)

// Lacks the barrier between writing and reading. Only the order of the threads shows it.
kernel void bad_missing_barrier(
    device float* out [[buffer(0)]], uint lid [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(float, shared, [64]);
  shared[lid] = float(lid);
  out[lid] = shared[lid / 2];
}
REGISTER_KERNEL(bad_missing_barrier)

struct GoodParams {
  int64_t size;
  int64_t value;
};
// A correct kernel, for wrong launches.
kernel void good_fill(
    device float* out [[buffer(0)]],
    constant GoodParams& p [[buffer(1)]],
    uint lid [[thread_index_in_threadgroup]]) {
  if (lid < p.size) {
    out[lid] = float(p.value);
  }
}
REGISTER_KERNEL(good_fill)
