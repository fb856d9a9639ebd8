// Checks of matrices, and small functions of them that several operations share.
#pragma once

#include "narrows/core/errors.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows::linalg {

inline void require_matrix(const char* op, const array& a) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[linalg.",
        op,
        "] array of shape ",
        to_string(a.shape()),
        ", expected at least 2 dimensions.");
  }
}

inline void require_square(const char* op, const array& a) {
  require_matrix(op, a);
  if (a.shape(-1) != a.shape(-2)) {
    fail<ValueError>(
        "[linalg.", op, "] array of shape ", to_string(a.shape()), ", expected square matrices.");
  }
}

inline void require_matrix_dtype(const char* op, Dtype dtype) {
  if (dtype != float32 && dtype != float64 && dtype != complex64) {
    fail<ValueError>(
        "[linalg.", op, "] dtype ", name_of(dtype), ", expected float32, float64 or complex64.");
  }
}

inline void require_matrices(const char* op, const array& a, bool are_square) {
  are_square ? require_square(op, a) : require_matrix(op, a);
  require_matrix_dtype(op, a.dtype());
}

inline Dtype real_dtype(Dtype dtype) {
  return dtype == complex64 ? float32 : dtype;
}

// The shape without the last `count` dimensions, followed by these.
inline Shape with_last(const Shape& shape, size_t count, std::initializer_list<int64_t> sizes) {
  Shape result(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(count));
  for (const int64_t size : sizes) {
    result.push_back(size);
  }
  return result;
}

// The conjugate transpose.
inline array adjoint(const array& a, StreamOrDevice s) {
  return matrix_transpose(conjugated(a, s), s);
}

inline array hermitian_part(const array& a, StreamOrDevice s) {
  return multiply(number(0.5, a.dtype()), add(a, adjoint(a, s), s), s);
}

// Columns (axis -1) or rows (-2) `begin` to `end` of matrices.
inline array part(const array& a, int axis, int64_t begin, int64_t end, StreamOrDevice s) {
  if (begin == 0 && end == a.shape(axis)) {
    return a;
  }
  Shape starts(static_cast<size_t>(a.ndim()), 0);
  Shape stops = a.shape();
  const size_t at = static_cast<size_t>(a.ndim() + axis);
  starts[at] = begin;
  stops[at] = end;
  return slice(a, starts, stops, Strides(static_cast<size_t>(a.ndim()), 1), s);
}

// (..., n) as rows (..., 1, n), and as columns (..., n, 1).
inline array as_row(const array& a, StreamOrDevice s) {
  return expand_dims(a, {-2}, s);
}
inline array as_column(const array& a, StreamOrDevice s) {
  return expand_dims(a, {-1}, s);
}
// (...,) for (..., m, n).
inline array as_factor(const array& a, StreamOrDevice s) {
  return expand_dims(a, {-2, -1}, s);
}

// a diag(values): the columns of `a`, scaled.
inline array scaled_columns(const array& a, const array& values, StreamOrDevice s) {
  return multiply(a, as_row(values, s), s);
}

// The matrix with zeros outside of its diagonal.
inline array only_diagonal(const array& a, StreamOrDevice s) {
  return tril(triu(a, 0, s), 0, s);
}

inline array diagonal_of(const array& a, StreamOrDevice s) {
  return diagonal(a, 0, -2, -1, s);
}

// 1 / x, or 0 where x is 0.
inline array reciprocal_or_zero(const array& x, StreamOrDevice s) {
  const array is_zero = equal(x, number(0, x.dtype()), s);
  const array one = number(1, x.dtype());
  return where(is_zero, number(0, x.dtype()), divide(one, where(is_zero, one, x, s), s), s);
}

} // namespace narrows::linalg
