// Elementwise operations of one argument.
#include "common.h"

#include "elementwise.h"

template <typename T, typename R, typename Op, int N>
METAL_FUNC Pack<R, N> unary_pack(Pack<T, N> x) {
  Pack<R, N> y;
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    y.values[k] = R(Op()(Compute<T>(x.values[k])));
  }
  return y;
}

template <typename T, typename R, typename Op>
kernel void unary_contiguous(
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
      *(device Pack<R, N>*)(out + walk.first + j * walk.step) = unary_pack<T, R, Op, N>(x[j]);
    }
    return;
  }
  for (int64_t i = walk.first; i < p.size; i += walk.step) {
    if (i + N <= p.size) {
      *(device Pack<R, N>*)(out + i) =
          unary_pack<T, R, Op, N>(*(device const Pack<T, N>*)(in + i));
    } else {
      for (int64_t k = i; k < p.size; ++k) {
        out[k] = R(Op()(Compute<T>(in[k])));
      }
    }
  }
}

template <typename T, typename R, typename Op>
kernel void unary_strided(
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
    write_run<R, N>(out, p, walk, span, unary_pack<T, R, Op, N>(run_of(x)));
  }
}

#define NARROWS_UNARY(T, tname, op, functor, result) \
  INSTANTIATE_KERNEL(                                \
      "elementwise_" op "_" tname "_contiguous",     \
      unary_contiguous,                              \
      T,                                             \
      ResultOf<T>::result,                           \
      functor)                                       \
  INSTANTIATE_KERNEL(                                \
      "elementwise_" op "_" tname "_strided", unary_strided, T, ResultOf<T>::result, functor)
#define NARROWS_ROW_1(op, functor, result, kernels) \
  NARROWS_TYPES_##kernels(NARROWS_UNARY, op, functor, result)
#define NARROWS_ROW_2(op, functor, result, kernels)
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_ROW_##arity(#name, functor, result, kernels)
#include "elementwise.def"
