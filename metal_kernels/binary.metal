// Elementwise operations of two arguments.
#include "common.h"

template <typename T, typename R, typename Op>
kernel void binary_contiguous(
    device const T* a [[buffer(0)]],
    device const T* b [[buffer(1)]],
    device R* out [[buffer(2)]],
    constant ElementwiseParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, R>::value;
  int64_t i = thread_number(group, lid, threads) * N;
  if (i + N <= p.size) {
    const Pack<T, N> x = *(device const Pack<T, N>*)(a + i);
    const Pack<T, N> y = *(device const Pack<T, N>*)(b + i);
    Pack<R, N> z;
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      z.values[k] = R(Op()(Compute<T>(x.values[k]), Compute<T>(y.values[k])));
    }
    *(device Pack<R, N>*)(out + i) = z;
  } else {
    for (; i < p.size; ++i) {
      out[i] = R(Op()(Compute<T>(a[i]), Compute<T>(b[i])));
    }
  }
}

template <typename T, typename R, typename Op>
kernel void binary_strided(
    device const T* a [[buffer(0)]],
    device const T* b [[buffer(1)]],
    device R* out [[buffer(2)]],
    constant ElementwiseParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, R>::strided;
  const Run<3> run = run_of<3>(p, thread_number(group, lid, threads), N);
  if (run.count == 0) {
    return;
  }
  const Pack<T, N> x =
      load_run<T, N>(a, run.offsets[0], run.strides[0], run.count, (p.aligned & 1) != 0);
  const Pack<T, N> y =
      load_run<T, N>(b, run.offsets[1], run.strides[1], run.count, (p.aligned & 2) != 0);
  Pack<R, N> z;
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    z.values[k] = R(Op()(Compute<T>(x.values[k]), Compute<T>(y.values[k])));
  }
  store_run<R, N>(out, run.offsets[2], run.strides[2], run.count, (p.aligned & 4) != 0, z);
}

#define NARROWS_BINARY(T, tname, op, functor, result) \
  INSTANTIATE_KERNEL(                                 \
      "elementwise_" op "_" tname "_contiguous",      \
      binary_contiguous,                              \
      T,                                              \
      ResultOf<T>::result,                            \
      functor)                                        \
  INSTANTIATE_KERNEL(                                 \
      "elementwise_" op "_" tname "_strided", binary_strided, T, ResultOf<T>::result, functor)
#define NARROWS_ROW_2(op, functor, result, kernels) \
  NARROWS_TYPES_##kernels(NARROWS_BINARY, op, functor, result)
#define NARROWS_ROW_1(op, functor, result, kernels)
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_ROW_##arity(#name, functor, result, kernels)
#include "elementwise.def"
