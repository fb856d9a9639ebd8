// Evenly spaced values.
#include "common.h"

#include "arange_element.h"

template <typename T>
kernel void arange(
    device T* out [[buffer(0)]],
    constant ArangeParams& p [[buffer(1)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t i = thread_number(group, lid, threads);
  if (i < p.size) {
    out[i] = arange_element<T>(p, i);
  }
}

#define NARROWS_ARANGE(T, tname, unused) INSTANTIATE_KERNEL("arange_" tname, arange, T)
NARROWS_TYPES_numeric(NARROWS_ARANGE, unused)
