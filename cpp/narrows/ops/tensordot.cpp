#include "narrows/ops/tensordot.h"

#include <algorithm>

#include "narrows/ops/checks.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

// The factor as a matrix: (product of kept sizes, product of summed sizes) or, for the right
// factor, the other way round.
array as_matrix(const array& a, const Axes& summed, bool left, Shape& result, StreamOrDevice s) {
  Axes kept;
  int64_t rows = 1;
  int64_t length = 1;
  for (int i = 0; i < a.ndim(); ++i) {
    if (std::find(summed.begin(), summed.end(), i) == summed.end()) {
      kept.push_back(i);
      result.push_back(a.shape()[i]);
      rows *= a.shape()[i];
    } else {
      length *= a.shape()[i];
    }
  }
  Axes order = left ? kept : summed;
  for (int axis : left ? summed : kept) {
    order.push_back(axis);
  }
  const array moved = std::is_sorted(order.begin(), order.end()) ? a : transpose(a, order, s);
  return reshape(moved, left ? Shape{rows, length} : Shape{length, rows}, s);
}

} // namespace

array inner(const array& a, const array& b, StreamOrDevice s) {
  if (a.ndim() == 0 || b.ndim() == 0) {
    return multiply(a, b, s);
  }
  if (a.shape(-1) != b.shape(-1)) {
    fail<ValueError>(
        "[inner] the last dimensions of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        " differ, expected the same size.");
  }
  return tensordot(a, b, {-1}, {-1}, s);
}

array outer(const array& a, const array& b, StreamOrDevice s) {
  return multiply(reshape(a, {a.size(), 1}, s), flatten(b, 0, -1, s), s);
}

array vecdot(const array& a, const array& b, int axis, StreamOrDevice s) {
  const int a_axis = normalize_axis("vecdot", axis, a.shape());
  const int b_axis = normalize_axis("vecdot", axis, b.shape());
  if (a_axis - a.ndim() != b_axis - b.ndim() || a.shape()[a_axis] != b.shape()[b_axis]) {
    fail<ValueError>(
        "[vecdot] axis ",
        axis,
        " of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected dimensions that align and have the same size.");
  }
  const array left = is_complex(a.dtype()) ? conjugate(a, s) : a;
  return sum(multiply(left, b, s), Axes{a_axis - a.ndim()}, false, s);
}

array tensordot(const array& a, const array& b, int axes, StreamOrDevice s) {
  if (axes < 0 || axes > std::min(a.ndim(), b.ndim())) {
    fail<ValueError>(
        "[tensordot] ",
        axes,
        " axes of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected 0 to the number of dimensions.");
  }
  Axes a_axes, b_axes;
  for (int i = 0; i < axes; ++i) {
    a_axes.push_back(a.ndim() - axes + i);
    b_axes.push_back(i);
  }
  return tensordot(a, b, a_axes, b_axes, s);
}

array tensordot(
    const array& a, const array& b, const Axes& a_axes, const Axes& b_axes, StreamOrDevice s) {
  if (a_axes.size() != b_axes.size()) {
    fail<ValueError>(
        "[tensordot] ",
        a_axes.size(),
        " and ",
        b_axes.size(),
        " axes, expected as many of each array.");
  }
  require_inexact("tensordot", promote(a.dtype(), b.dtype()));
  // Refuses repeated axes. The pairs keep their order.
  normalize_axes("tensordot", a_axes, a.shape());
  normalize_axes("tensordot", b_axes, b.shape());
  Axes a_summed, b_summed;
  for (size_t i = 0; i < a_axes.size(); ++i) {
    a_summed.push_back(normalize_axis("tensordot", a_axes[i], a.shape()));
    b_summed.push_back(normalize_axis("tensordot", b_axes[i], b.shape()));
    if (a.shape()[a_summed.back()] != b.shape()[b_summed.back()]) {
      fail<ValueError>(
          "[tensordot] axis ",
          a_axes[i],
          " of shape ",
          to_string(a.shape()),
          " and axis ",
          b_axes[i],
          " of shape ",
          to_string(b.shape()),
          " differ, expected the same size.");
    }
  }
  Shape shape;
  const array left = as_matrix(a, a_summed, true, shape, s);
  const array right = as_matrix(b, b_summed, false, shape, s);
  return reshape(matmul(left, right, s), shape, s);
}

array kron(const array& a, const array& b, StreamOrDevice s) {
  const size_t ndim = std::max(a.shape().size(), b.shape().size());
  Shape a_shape, b_shape, shape;
  for (size_t i = 0; i < ndim; ++i) {
    const auto size_in = [&](const Shape& of) {
      const size_t added = ndim - of.size();
      return i < added ? 1 : of[i - added];
    };
    a_shape.push_back(size_in(a.shape()));
    a_shape.push_back(1);
    b_shape.push_back(1);
    b_shape.push_back(size_in(b.shape()));
    shape.push_back(checked_multiply("kron", size_in(a.shape()), size_in(b.shape())));
  }
  return reshape(multiply(reshape(a, a_shape, s), reshape(b, b_shape, s), s), shape, s);
}

} // namespace narrows
