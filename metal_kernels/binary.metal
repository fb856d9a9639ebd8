// Elementwise operations of two arguments.
#include "common.h"

#include "elementwise.h"

template <typename T, typename R, typename Op, int N>
METAL_FUNC Pack<R, N> binary_pack(Pack<T, N> x, Pack<T, N> y) {
  Pack<R, N> z;
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    z.values[k] = R(Op()(Compute<T>(x.values[k]), Compute<T>(y.values[k])));
  }
  return z;
}

// Neighbours of an operand, or its one element in place of each.
template <typename T, int N>
METAL_FUNC Pack<T, N> operand_pack(device const T* from, int64_t i, bool is_one) {
  if (!is_one) {
    return *(device const Pack<T, N>*)(from + i);
  }
  const T x = from[0];
  Pack<T, N> pack;
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    pack.values[k] = x;
  }
  return pack;
}

// An operand whose stride is zero has one element.
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
  constexpr int kPacks = ElementsPerThread<T, R>::packs;
  const bool one_a = p.strides[0][0] == 0;
  const bool one_b = p.strides[1][0] == 0;
  const PackWalk walk = pack_walk(group, lid, threads, N, kPacks, p.size);
  if (walk.whole) {
    Pack<T, N> x[kPacks];
    Pack<T, N> y[kPacks];
    METAL_UNROLL
    for (int j = 0; j < kPacks; ++j) {
      x[j] = operand_pack<T, N>(a, walk.first + j * walk.step, one_a);
      y[j] = operand_pack<T, N>(b, walk.first + j * walk.step, one_b);
    }
    METAL_UNROLL
    for (int j = 0; j < kPacks; ++j) {
      *(device Pack<R, N>*)(out + walk.first + j * walk.step) =
          binary_pack<T, R, Op, N>(x[j], y[j]);
    }
    return;
  }
  for (int64_t i = walk.first; i < p.size; i += walk.step) {
    if (i + N <= p.size) {
      *(device Pack<R, N>*)(out + i) = binary_pack<T, R, Op, N>(
          operand_pack<T, N>(a, i, one_a), operand_pack<T, N>(b, i, one_b));
    } else {
      for (int64_t k = i; k < p.size; ++k) {
        out[k] = R(Op()(Compute<T>(a[one_a ? 0 : k]), Compute<T>(b[one_b ? 0 : k])));
      }
    }
  }
}

template <typename T, typename R, typename Op>
kernel void binary_strided(
    device const T* a [[buffer(0)]],
    device const T* b [[buffer(1)]],
    device R* out [[buffer(2)]],
    constant StridedParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  constexpr int N = ElementsPerThread<T, R>::strided;
  RowWalk<3> walk;
  if (!find_rows<N>(p, thread_number(group, lid, threads), walk)) {
    return;
  }
  METAL_ROLLED
  for (; walk.rows > 0; next_row(p, walk)) {
    const Span span = span_of<N>(p, walk);
    if (span.begin >= span.end) {
      continue;
    }
    const RunReads<T, N> x = read_run<T, N>(a, 0, p, walk, span);
    const RunReads<T, N> y = read_run<T, N>(b, 1, p, walk, span);
    write_run<R, N>(out, p, walk, span, binary_pack<T, R, Op, N>(run_of(x), run_of(y)));
  }
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
