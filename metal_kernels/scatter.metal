// Changes elements of an array at indices from other arrays. Of several assignments to one element
// one stays. Updates of other operations all count, in any order.
//
// They need no atomic arithmetic, which no GPU has for all types. Positions with the same indices
// form a chain, which is built by exchanging the chain's head. The position at the end of each
// chain then combines all of its updates.
#include "common.h"

#include "indexed_walk.h"

template <typename T, typename Index>
kernel void scatter_assign_one(
    device const T* updates [[buffer(0)]],
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
  if (follow_all(p, place, indices)) {
    out[place.array] = updates[place.other];
  }
}

template <typename T, typename Index>
kernel void scatter_assign_several(
    device const T* updates [[buffer(0)]],
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
  if (follow_all(p, place, i0, i1, i2, i3, i4, i5, i6, i7)) {
    out[place.array] = updates[place.other];
  }
}

// Chains contain positions of lines, counted from 1. 0 ends a chain.
kernel void scatter_clear(
    device uint* heads [[buffer(0)]],
    constant IndexedParams& p [[buffer(1)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number < p.lines * p.rows) {
    heads[number] = 0u;
  }
}

// Marks a skipped position, in place of the next position of its chain.
constant constexpr uint kSkipped = 0xffffffffu;

METAL_FUNC void put_in_chain(
    device atomic_uint* heads,
    device uint* next,
    device uint* rows,
    constant IndexedParams& p,
    uint position,
    int64_t row,
    bool inside) {
  if (!inside) {
    next[position] = kSkipped;
    return;
  }
  const int64_t line = int64_t(position / uint(p.positions));
  rows[position] = uint(row);
  next[position] =
      atomic_exchange_explicit(heads + line * p.rows + row, position + 1u, memory_order_relaxed);
}

template <typename Index>
kernel void scatter_link_one(
    device const Index* indices [[buffer(0)]],
    device atomic_uint* heads [[buffer(1)]],
    device uint* next [[buffer(2)]],
    device uint* rows [[buffer(3)]],
    constant IndexedParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number >= p.lines * p.positions) {
    return;
  }
  IndexedPlace<1> place = first_place<1>();
  add_element(p, 0, p.line_dims + p.position_dims, number, place);
  const bool inside = follow_all(p, place, indices);
  put_in_chain(heads, next, rows, p, uint(number), place.row, inside);
}

template <typename Index>
kernel void scatter_link_several(
    device const Index* i0 [[buffer(0)]],
    device const Index* i1 [[buffer(1)]],
    device const Index* i2 [[buffer(2)]],
    device const Index* i3 [[buffer(3)]],
    device const Index* i4 [[buffer(4)]],
    device const Index* i5 [[buffer(5)]],
    device const Index* i6 [[buffer(6)]],
    device const Index* i7 [[buffer(7)]],
    device atomic_uint* heads [[buffer(8)]],
    device uint* next [[buffer(9)]],
    device uint* rows [[buffer(10)]],
    constant IndexedParams& p [[buffer(11)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number >= p.lines * p.positions) {
    return;
  }
  IndexedPlace<NARROWS_MAX_INDICES> place = first_place<NARROWS_MAX_INDICES>();
  add_element(p, 0, p.line_dims + p.position_dims, number, place);
  const bool inside = follow_all(p, place, i0, i1, i2, i3, i4, i5, i6, i7);
  put_in_chain(heads, next, rows, p, uint(number), place.row, inside);
}

// A thread for each element of the updates. Those at the ends of chains do the work.
template <typename T, typename Op>
kernel void scatter_combine(
    device const uint* heads [[buffer(0)]],
    device const uint* next [[buffer(1)]],
    device const uint* rows [[buffer(2)]],
    device const T* updates [[buffer(3)]],
    device T* out [[buffer(4)]],
    constant IndexedParams& p [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t number = thread_number(group, lid, threads);
  if (number >= p.lines * p.positions * p.columns) {
    return;
  }
  const int64_t position = number / p.columns;
  if (next[position] != 0u) {
    return;
  }
  const int64_t line = position / p.positions;
  const int position_end = p.line_dims + p.position_dims;
  IndexedPlace<1> place = first_place<1>();
  add_element(p, 0, p.line_dims, line, place);
  add_element(p, position_end, p.ndim, number - position * p.columns, place);
  const int64_t row = int64_t(rows[position]);
  for (int k = 0; k < p.indices; ++k) {
    place.array += row / p.pitches[k] % p.sizes[k] * p.steps[k];
  }
  typename Op::Value value = Op::of(out[place.array]);
  uint link = heads[line * p.rows + row];
  while (link != 0u) {
    IndexedPlace<1> update = first_place<1>();
    const int64_t in_line = int64_t(link - 1u) - line * p.positions;
    add_element(p, p.line_dims, position_end, in_line, update);
    value = Op::combine(value, Op::of(updates[place.other + update.other]));
    link = next[link - 1u];
  }
  out[place.array] = T(value);
}

#define NARROWS_ASSIGN(T, tname, Index, iname)                                        \
  INSTANTIATE_KERNEL("scatter_" tname "_" iname "_one", scatter_assign_one, T, Index) \
  INSTANTIATE_KERNEL("scatter_" tname "_" iname "_several", scatter_assign_several, T, Index)
#define NARROWS_INDEXED(Index, iname, unused)                               \
  NARROWS_MOVED_TYPES(NARROWS_ASSIGN, Index, iname)                         \
  INSTANTIATE_KERNEL("scatter_link_" iname "_one", scatter_link_one, Index) \
  INSTANTIATE_KERNEL("scatter_link_" iname "_several", scatter_link_several, Index)
NARROWS_INDEX_TYPES(NARROWS_INDEXED, unused)

#define NARROWS_COMBINE(op, T, tname, Op) \
  INSTANTIATE_KERNEL("scatter_" op "_" tname, scatter_combine, T, Op<T>)
#define NARROWS_COMBINES(T, tname, unused)         \
  NARROWS_COMBINE("add", T, tname, SumOf)          \
  NARROWS_COMBINE("multiply", T, tname, ProductOf) \
  NARROWS_COMBINE("minimum", T, tname, MinimumOf)  \
  NARROWS_COMBINE("maximum", T, tname, MaximumOf)
NARROWS_TYPES_any(NARROWS_COMBINES, unused)

    REGISTER_KERNEL(scatter_clear)
