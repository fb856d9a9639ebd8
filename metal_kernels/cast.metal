// Conversions between all types, and copies of elements of each size.
#include "common.h"

#include "elementwise.h"

template <typename T, typename R, int N>
METAL_FUNC Pack<R, N> cast_pack(Pack<T, N> x) {
  Pack<R, N> y;
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    y.values[k] = R(Convert<Compute<R>>()(Compute<T>(x.values[k])));
  }
  return y;
}

template <typename T, typename R>
kernel void cast_contiguous(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant ElementwiseParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, R>::value;
  constexpr int kPacks = ElementsPerThread<T, R>::packs;
  const PackWalk walk = pack_walk(group, lid, threads, N, kPacks, p.size);
  if (walk.whole) {
    Pack<T, N> x[kPacks];
    METAL_UNROLL
    for (int j = 0; j < kPacks; ++j) {
      x[j] = *(device const Pack<T, N>*)(in + walk.first + j * walk.step);
    }
    METAL_UNROLL
    for (int j = 0; j < kPacks; ++j) {
      *(device Pack<R, N>*)(out + walk.first + j * walk.step) = cast_pack<T, R, N>(x[j]);
    }
    return;
  }
  for (int64_t i = walk.first; i < p.size; i += walk.step) {
    if (i + N <= p.size) {
      *(device Pack<R, N>*)(out + i) = cast_pack<T, R, N>(*(device const Pack<T, N>*)(in + i));
    } else {
      for (int64_t k = i; k < p.size; ++k) {
        out[k] = R(Convert<Compute<R>>()(Compute<T>(in[k])));
      }
    }
  }
}

template <typename T, typename R>
kernel void cast_strided(
    device const T* in [[buffer(0)]],
    device R* out [[buffer(1)]],
    constant StridedParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, R>::strided;
  RowWalk<2> walk;
  if (!find_rows<N>(p, thread_number(group, lid, threads), walk)) {
    return;
  }
  METAL_ROLLED
  for (; walk.rows > 0; next_row(p, walk)) {
    const Span span = span_of<N>(p, walk);
    if (span.begin >= span.end) {
      continue;
    }
    const RunReads<T, N> x = read_run<T, N>(in, 0, p, walk, span);
    write_run<R, N>(out, p, walk, span, cast_pack<T, R, N>(run_of(x)));
  }
}

#define NARROWS_CAST(T, tname, R, rname)                                           \
  INSTANTIATE_KERNEL("cast_" tname "_" rname "_contiguous", cast_contiguous, T, R) \
  INSTANTIATE_KERNEL("cast_" tname "_" rname "_strided", cast_strided, T, R)

#if METAL_HAS_FLOAT64
#define NARROWS_CAST_TO_FLOAT64(T, tname) NARROWS_CAST(T, tname, double, "float64")
#else
#define NARROWS_CAST_TO_FLOAT64(T, tname)
#endif

#define NARROWS_CAST_FROM(T, tname, unused)     \
  NARROWS_CAST_TO(bool, "bool", T, tname)       \
  NARROWS_CAST_TO(uint8_t, "uint8", T, tname)   \
  NARROWS_CAST_TO(uint16_t, "uint16", T, tname) \
  NARROWS_CAST_TO(uint32_t, "uint32", T, tname) \
  NARROWS_CAST_TO(uint64_t, "uint64", T, tname) \
  NARROWS_CAST_TO(int8_t, "int8", T, tname)     \
  NARROWS_CAST_TO(int16_t, "int16", T, tname)   \
  NARROWS_CAST_TO(int32_t, "int32", T, tname)   \
  NARROWS_CAST_TO(int64_t, "int64", T, tname)   \
  NARROWS_CAST_TO(half, "float16", T, tname)    \
  NARROWS_CAST_TO(bfloat, "bfloat16", T, tname) \
  NARROWS_CAST_TO(float, "float32", T, tname)   \
  NARROWS_CAST_TO_FLOAT64(T, tname)             \
  NARROWS_CAST_TO(complex64_t, "complex64", T, tname)
#define NARROWS_CAST_TO(R, rname, T, tname) NARROWS_CAST(T, tname, R, rname)

NARROWS_TYPES_any(NARROWS_CAST_FROM, unused)
