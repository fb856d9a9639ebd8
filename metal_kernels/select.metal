// Elements of one operand or of the other, by a condition, for the four sizes of elements.
#include "common.h"

#include "elementwise.h"

template <typename T>
kernel void select_contiguous(
    device const bool* condition [[buffer(0)]],
    device const T* a [[buffer(1)]],
    device const T* b [[buffer(2)]],
    device T* out [[buffer(3)]],
    constant ElementwiseParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, T>::value;
  constexpr int kPacks = ElementsPerThread<T, T>::packs;
  const PackWalk walk = pack_walk(group, lid, threads, N, kPacks, p.size);
  for (int64_t i = walk.first, last = i + (kPacks - 1) * walk.step; i <= last && i < p.size;
       i += walk.step) {
    if (i + N <= p.size) {
      const Pack<bool, N> choice = *(device const Pack<bool, N>*)(condition + i);
      const Pack<T, N> x = *(device const Pack<T, N>*)(a + i);
      const Pack<T, N> y = *(device const Pack<T, N>*)(b + i);
      Pack<T, N> z;
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        z.values[k] = choice.values[k] ? x.values[k] : y.values[k];
      }
      *(device Pack<T, N>*)(out + i) = z;
    } else {
      for (int64_t k = i; k < p.size; ++k) {
        out[k] = condition[k] ? a[k] : b[k];
      }
    }
  }
}

template <typename T>
kernel void select_strided(
    device const bool* condition [[buffer(0)]],
    device const T* a [[buffer(1)]],
    device const T* b [[buffer(2)]],
    device T* out [[buffer(3)]],
    constant StridedParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, T>::strided;
  RowWalk<4> walk;
  if (!find_rows<N>(p, thread_number(group, lid, threads), walk)) {
    return;
  }
  METAL_ROLLED
  for (; walk.rows > 0; next_row(p, walk)) {
    const Span span = span_of<N>(p, walk);
    if (span.begin >= span.end) {
      continue;
    }
    const RunReads<bool, N> choices = read_run<bool, N>(condition, 0, p, walk, span);
    const RunReads<T, N> x = read_run<T, N>(a, 1, p, walk, span);
    const RunReads<T, N> y = read_run<T, N>(b, 2, p, walk, span);
    const Pack<bool, N> choice = run_of(choices);
    Pack<T, N> u = run_of(x);
    const Pack<T, N> v = run_of(y);
    METAL_UNROLL
    for (int i = 0; i < N; ++i) {
      u.values[i] = choice.values[i] ? u.values[i] : v.values[i];
    }
    write_run<T, N>(out, p, walk, span, u);
  }
}

#define NARROWS_SELECT(T, tname)                                          \
  INSTANTIATE_KERNEL("select_" tname "_contiguous", select_contiguous, T) \
  INSTANTIATE_KERNEL("select_" tname "_strided", select_strided, T)
NARROWS_SELECT(uint8_t, "uint8")
NARROWS_SELECT(uint16_t, "uint16")
NARROWS_SELECT(uint32_t, "uint32")
NARROWS_SELECT(uint64_t, "uint64")
