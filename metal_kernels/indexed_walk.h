// How threads of gather and scatter find their elements.
#pragma once

#include "indexed.h"

// Sixteen bytes, which a gather or an assignment moves at once if rows allow it.
struct alignas(16) Bits128 {
  uint words[4];
};

// Offsets in the indexed array, in the other array, and in each index array.
template <int kIndices>
struct IndexedPlace {
  int64_t array;
  int64_t other;
  int64_t row; // of the dimensions of positions only
  int64_t indices[kIndices];
};

// Adds the offsets of element `number` of dimensions [first, end), in row-major order.
template <typename Number, int kIndices>
METAL_FUNC void add_dimensions(
    constant IndexedParams& p,
    int first,
    int end,
    Number number,
    thread IndexedPlace<kIndices>& place) {
  for (int d = end - 1; d >= first; --d) {
    const Number rest = number / Number(p.shape[d]);
    const int64_t i = int64_t(number - rest * Number(p.shape[d]));
    number = rest;
    place.array += i * p.array_strides[d];
    place.other += i * p.other_strides[d];
    place.row += i * p.row_pitches[d];
    METAL_UNROLL
    for (int k = 0; k < kIndices; ++k) {
      place.indices[k] += k < p.indices ? i * p.index_strides[k][d] : 0;
    }
  }
}

// The same. Divides in 32 bits if they suffice.
template <int kIndices>
METAL_FUNC void add_element(
    constant IndexedParams& p,
    int first,
    int end,
    int64_t number,
    thread IndexedPlace<kIndices>& place) {
  if (number <= int64_t(0xffffffffu)) {
    add_dimensions<uint>(p, first, end, uint(number), place);
  } else {
    add_dimensions<int64_t>(p, first, end, number, place);
  }
}

template <int kIndices>
METAL_FUNC IndexedPlace<kIndices> first_place() {
  IndexedPlace<kIndices> place;
  place.array = 0;
  place.other = 0;
  place.row = 0;
  METAL_UNROLL
  for (int k = 0; k < kIndices; ++k) {
    place.indices[k] = 0;
  }
  return place;
}

// Moves to the place that index number k selects. False if the index is out of range and the place
// is skipped.
template <typename Index, int kIndices>
METAL_FUNC bool follow(
    constant IndexedParams& p, int k, Index index, thread IndexedPlace<kIndices>& place) {
  int64_t i = int64_t(index);
  i = i < 0 ? i + p.sizes[k] : i;
  const bool inside = i >= 0 && i <= p.limits[k];
  if (!inside) {
    if (p.clamp == 0) {
      return false;
    }
    i = i < 0 ? 0 : p.limits[k];
  }
  place.array += i * p.steps[k];
  place.row += i * p.pitches[k];
  return true;
}

// Reads the indices of a place whose offsets are known, and moves to where they select.
template <typename Index>
METAL_FUNC bool follow_all(
    constant IndexedParams& p, thread IndexedPlace<1>& place, device const Index* indices) {
  return follow(p, 0, indices[place.indices[0]], place);
}
template <typename Index>
METAL_FUNC bool follow_all(
    constant IndexedParams& p,
    thread IndexedPlace<NARROWS_MAX_INDICES>& place,
    device const Index* i0,
    device const Index* i1,
    device const Index* i2,
    device const Index* i3,
    device const Index* i4,
    device const Index* i5,
    device const Index* i6,
    device const Index* i7) {
  bool inside = follow(p, 0, i0[place.indices[0]], place);
  inside = inside && (p.indices < 2 || follow(p, 1, i1[place.indices[1]], place));
  inside = inside && (p.indices < 3 || follow(p, 2, i2[place.indices[2]], place));
  inside = inside && (p.indices < 4 || follow(p, 3, i3[place.indices[3]], place));
  inside = inside && (p.indices < 5 || follow(p, 4, i4[place.indices[4]], place));
  inside = inside && (p.indices < 6 || follow(p, 5, i5[place.indices[5]], place));
  inside = inside && (p.indices < 7 || follow(p, 6, i6[place.indices[6]], place));
  return inside && (p.indices < 8 || follow(p, 7, i7[place.indices[7]], place));
}

// MACRO(Index, "name of Index", ...) for the types of indices in kernels.
#define NARROWS_INDEX_TYPES(MACRO, ...)  \
  MACRO(int32_t, "int32", __VA_ARGS__)   \
  MACRO(uint32_t, "uint32", __VA_ARGS__) \
  MACRO(int64_t, "int64", __VA_ARGS__)
// MACRO(T, "name of T", ...) for elements of each size and for packs of them.
#define NARROWS_MOVED_TYPES(MACRO, ...) \
  MACRO(uint8_t, "8", __VA_ARGS__)      \
  MACRO(uint16_t, "16", __VA_ARGS__)    \
  MACRO(uint32_t, "32", __VA_ARGS__)    \
  MACRO(uint64_t, "64", __VA_ARGS__)    \
  MACRO(Bits128, "128", __VA_ARGS__)
