// Copies of a single value.
#include "common.h"

#include "fill.h"

template <typename T>
kernel void fill(
    device T* out [[buffer(0)]],
    constant FillParams& p [[buffer(1)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  // A threadgroup's width apart, so that neighbouring threads write neighbours.
  const int64_t first = int64_t(group) * threads * 4 + lid;
  METAL_UNROLL
  for (int j = 0; j < 4; ++j) {
    const int64_t i = first + j * int64_t(threads);
    if (i < p.size) {
      out[i] = T(p.value);
    }
  }
}

INSTANTIATE_KERNEL("fill_uint8", fill, uint8_t)
INSTANTIATE_KERNEL("fill_uint16", fill, uint16_t)
INSTANTIATE_KERNEL("fill_uint32", fill, uint32_t)
INSTANTIATE_KERNEL("fill_uint64", fill, uint64_t)
