// Operations that make arrays of numbers: constants and sequences.
#pragma once

#include "narrows/core/scalar.h"
#include "narrows/ops/common.h"

namespace narrows {

// `value`, stored as `dtype`.
Scalar make_scalar(double value, Dtype dtype);
Scalar make_scalar(int64_t value, Dtype dtype);
Scalar make_scalar(complex64_t value, Dtype dtype);

// A number to use beside arrays, as a literal.
template <typename T>
array number(T value, Dtype dtype) {
  if constexpr (std::is_same_v<T, uint64_t>) {
    return array(dtype == uint64 ? Scalar::of(value, dtype) : make_scalar(double(value), dtype));
  } else if constexpr (std::is_integral_v<T>) {
    return array(make_scalar(static_cast<int64_t>(value), dtype));
  } else {
    return array(make_scalar(static_cast<double>(value), dtype));
  }
}

// ValueError "[op] ..." if the number, truncated to an integer, is out of the range of an integer
// dtype.
void require_fits(const char* op, int64_t value, Dtype dtype);
void require_fits(const char* op, double value, Dtype dtype);

// An array of `shape` with this value in all elements.
array full(const Shape& shape, const Scalar& value, StreamOrDevice s = {});

// An array of `shape` and `dtype` with the elements of `values`, broadcast.
array full(const Shape& shape, const array& values, Dtype dtype, StreamOrDevice s = {});

array zeros(const Shape& shape, Dtype dtype = float32, StreamOrDevice s = {});
array ones(const Shape& shape, Dtype dtype = float32, StreamOrDevice s = {});

// start, start + step, ... below stop (above it, for a negative step): ceil((stop - start) / step)
// elements. ValueError if step is zero, a bound is not finite or an element does not fit.
array arange(double start, double stop, double step, Dtype dtype, StreamOrDevice s = {});
array arange(int64_t start, int64_t stop, int64_t step, Dtype dtype, StreamOrDevice s = {});

// `count` numbers from start to stop at equal distances. stop is the last one if `endpoint`, else
// it is left out.
array linspace(
    double start,
    double stop,
    int64_t count = 50,
    bool endpoint = true,
    Dtype dtype = float32,
    StreamOrDevice s = {});

// (n, m) with ones on the k-th diagonal.
array eye(int64_t n, int64_t m, int k = 0, Dtype dtype = float32, StreamOrDevice s = {});

// (n, m) with ones on and below the k-th diagonal.
array tri(int64_t n, int64_t m, int k = 0, Dtype dtype = float32, StreamOrDevice s = {});

// The last two dimensions of `a` with zeros above (below) the k-th diagonal.
array tril(const array& a, int k = 0, StreamOrDevice s = {});
array triu(const array& a, int k = 0, StreamOrDevice s = {});

} // namespace narrows
