// Reads elements of an array at indices from other arrays.
#include "common.h"

#include "indexed_walk.h"

template <typename T, int kIndices>
METAL_FUNC void read_element(
    device const T* in, device T* out, thread IndexedPlace<kIndices>& place, bool inside) {
  T value{};
  if (inside) {
    value = in[place.array];
  }
  out[place.other] = value;
}

// One thread for each element.
template <typename T, typename Index>
kernel void gather_one(
    device const T* in [[buffer(0)]],
    device const Index* indices [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant IndexedParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number >= p.lines * p.positions * p.columns) {
    return;
  }
  IndexedPlace<1> place = first_place<1>();
  add_element(p, 0, p.ndim, number, place);
  const bool inside = follow_all(p, place, indices);
  read_element(in, out, place, inside);
}

template <typename T, typename Index>
kernel void gather_several(
    device const T* in [[buffer(0)]],
    device const Index* i0 [[buffer(1)]],
    device const Index* i1 [[buffer(2)]],
    device const Index* i2 [[buffer(3)]],
    device const Index* i3 [[buffer(4)]],
    device const Index* i4 [[buffer(5)]],
    device const Index* i5 [[buffer(6)]],
    device const Index* i6 [[buffer(7)]],
    device const Index* i7 [[buffer(8)]],
    device T* out [[buffer(9)]],
    constant IndexedParams& p [[buffer(10)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number >= p.lines * p.positions * p.columns) {
    return;
  }
  IndexedPlace<NARROWS_MAX_INDICES> place = first_place<NARROWS_MAX_INDICES>();
  add_element(p, 0, p.ndim, number, place);
  const bool inside = follow_all(p, place, i0, i1, i2, i3, i4, i5, i6, i7);
  read_element(in, out, place, inside);
}

#define NARROWS_GATHER(T, tname, Index, iname)                               \
  INSTANTIATE_KERNEL("gather_" tname "_" iname "_one", gather_one, T, Index) \
  INSTANTIATE_KERNEL("gather_" tname "_" iname "_several", gather_several, T, Index)
#define NARROWS_GATHERS(Index, iname, unused) NARROWS_MOVED_TYPES(NARROWS_GATHER, Index, iname)
NARROWS_INDEX_TYPES(NARROWS_GATHERS, unused)
