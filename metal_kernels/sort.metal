// Sorts rows. The places of elements are moved. Comparing the places of equal elements makes the
// sort stable. Partitions are sorted, too.
#include "common.h"

#include "sort.h"

// The number of elements that a threadgroup sorts in its memory.
#define NARROWS_SORT_BLOCK 1024

// NaN comes last.
template <typename Value>
METAL_FUNC bool sorts_before(Value a, uint a_place, Value b, uint b_place) {
  const bool a_nan = IsNan()(a);
  const bool b_nan = IsNan()(b);
  if (a_nan || b_nan) {
    return a_nan == b_nan ? a_place < b_place : b_nan;
  }
  if (Less()(a, b)) {
    return true;
  }
  return !Less()(b, a) && a_place < b_place;
}

// What a kernel writes for the element at `position` of the sorted row.
struct PlacesOnly { // all places, for further kernels
  using Out = uint32_t;
  template <typename T>
  static METAL_FUNC void write(
      device Out* out,
      device const T*,
      constant SortParams& p,
      int64_t row,
      int64_t position,
      uint place) {
    out[row * p.length + position] = place;
  }
};
struct WantedPlaces {
  using Out = uint32_t;
  template <typename T>
  static METAL_FUNC void write(
      device Out* out,
      device const T*,
      constant SortParams& p,
      int64_t row,
      int64_t position,
      uint place) {
    if (position >= p.first && position < p.first + p.count) {
      out[row * p.count + position - p.first] = place;
    }
  }
};
template <typename T>
struct WantedElements {
  using Out = T;
  static METAL_FUNC void write(
      device Out* out,
      device const T* in,
      constant SortParams& p,
      int64_t row,
      int64_t position,
      uint place) {
    if (position >= p.first && position < p.first + p.count) {
      out[row * p.count + position - p.first] = in[row * p.length + place];
    }
  }
};

// A threadgroup sorts one block of a row. All comparisons put the smaller element first, so
// elements beyond the row would stay in place: they are left out.
template <typename T, typename Write>
kernel void sort_blocks(
    device const T* in [[buffer(0)]],
    device typename Write::Out* out [[buffer(1)]],
    constant SortParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  using Value = Compute<T>;
  THREADGROUP_ARRAY(Value, values, [NARROWS_SORT_BLOCK]);
  THREADGROUP_ARRAY(uint, places, [NARROWS_SORT_BLOCK]);
  const int64_t blocks = (p.length + NARROWS_SORT_BLOCK - 1) / NARROWS_SORT_BLOCK;
  const int64_t row = int64_t(group) / blocks;
  const int64_t begin = (int64_t(group) - row * blocks) * NARROWS_SORT_BLOCK;
  const int64_t left = p.length - begin;
  const uint size = left < NARROWS_SORT_BLOCK ? uint(left) : uint(NARROWS_SORT_BLOCK);
  for (uint i = lid; i < size; i += threads) {
    values[i] = Value(in[row * p.length + begin + i]);
    places[i] = uint(begin) + i;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint run = 1; run < size; run <<= 1) {
    // Runs are merged by comparing the first element with the last, the second with the one before
    // it, and so on, and then neighbours at decreasing distances.
    for (uint distance = run; distance > 0; distance >>= 1) {
      for (uint pair = lid; pair < NARROWS_SORT_BLOCK / 2 && pair < size; pair += threads) {
        const uint inside = pair & (distance - 1);
        const uint start = (pair - inside) << 1;
        const uint a = start + inside;
        const uint b = distance == run ? start + 2 * distance - 1 - inside : a + distance;
        if (b < size && sorts_before(values[b], places[b], values[a], places[a])) {
          const Value value = values[a];
          const uint place = places[a];
          values[a] = values[b];
          places[a] = places[b];
          values[b] = value;
          places[b] = place;
        }
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
  }
  for (uint i = lid; i < size; i += threads) {
    Write::write(out, in, p, row, begin + i, places[i]);
  }
}

// A thread moves one element. It knows its place in its run, and finds how many elements of the
// neighbouring run come before it.
template <typename T, typename Write>
kernel void sort_merge(
    device const T* in [[buffer(0)]],
    device const uint32_t* from [[buffer(1)]],
    device typename Write::Out* out [[buffer(2)]],
    constant SortParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t element = thread_number(group, lid, threads);
  const int64_t row = element / p.length;
  if (row >= p.rows) {
    return;
  }
  const int64_t position = element - row * p.length;
  const int64_t run = position / p.run;
  const int64_t start = (run & ~int64_t(1)) * p.run; // of the two runs that are merged
  const int64_t other = (run ^ 1) * p.run;
  const int64_t first = row * p.length;
  const uint place = from[first + position];
  const Compute<T> value = Compute<T>(in[first + place]);
  int64_t low = other < p.length ? other : p.length;
  int64_t high = other + p.run < p.length ? other + p.run : p.length;
  const int64_t other_begin = low;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const uint there = from[first + middle];
    if (sorts_before(Compute<T>(in[first + there]), there, value, place)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const int64_t target = start + (position - run * p.run) + (low - other_begin);
  Write::write(out, in, p, row, target, place);
}

#define NARROWS_SORT(T, tname, unused)                                               \
  INSTANTIATE_KERNEL("sort_" tname "_runs", sort_blocks, T, PlacesOnly)              \
  INSTANTIATE_KERNEL("sort_" tname "_merge", sort_merge, T, PlacesOnly)              \
  INSTANTIATE_KERNEL("sort_sort_" tname "_block", sort_blocks, T, WantedElements<T>) \
  INSTANTIATE_KERNEL("sort_sort_" tname "_last", sort_merge, T, WantedElements<T>)   \
  INSTANTIATE_KERNEL("sort_argsort_" tname "_block", sort_blocks, T, WantedPlaces)   \
  INSTANTIATE_KERNEL("sort_argsort_" tname "_last", sort_merge, T, WantedPlaces)
NARROWS_TYPES_any(NARROWS_SORT, unused)
