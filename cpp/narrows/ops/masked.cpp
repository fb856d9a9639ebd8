#include "narrows/ops/masked.h"

#include <algorithm>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

void check_mask(const char* op, const Shape& shape, const array& mask, int axis) {
  const size_t first = static_cast<size_t>(axis);
  const Shape& m = mask.shape();
  if (mask.dtype() != bool_) {
    fail<ValueError>("[", op, "] mask of dtype ", name_of(mask.dtype()), ", expected bool.");
  }
  if (first + m.size() > shape.size() || !std::equal(m.begin(), m.end(), shape.begin() + first)) {
    fail<IndexError>(
        "[",
        op,
        "] mask of shape ",
        to_string(m),
        " for an array of shape ",
        to_string(shape),
        ", expected the dimensions from ",
        axis,
        " on.");
  }
}

// The values with `ndim` dimensions. Their dimension of counts is where the mask's dimensions
// begin.
array aligned_values(
    const char* op, const array& values, int ndim, int count_axis, int axis, StreamOrDevice s) {
  array result = values;
  while (result.ndim() > ndim && result.shape(0) == 1) {
    result = squeeze(result, {0}, s);
  }
  if (result.ndim() > ndim) {
    fail<ValueError>(
        "[",
        op,
        "] values of shape ",
        to_string(values.shape()),
        ", expected no more than ",
        ndim,
        " dimensions.");
  }
  Axes added;
  for (int i = result.ndim(); i < ndim; ++i) {
    added.push_back(i - result.ndim());
  }
  return moveaxis(expand_dims(result, added, s), count_axis, axis, s);
}

} // namespace

array masked_update(
    const char* op,
    const array& a,
    const array& mask,
    int axis,
    const array& values,
    int count_axis,
    Combine combine,
    StreamOrDevice s) {
  check_mask(op, a.shape(), mask, axis);
  const int ndim = a.ndim() - mask.ndim() + 1;
  const array x = astype(aligned_values(op, values, ndim, count_axis, axis, s), a.dtype(), s);
  for (int i = 0; i < ndim; ++i) {
    const int64_t n = i == axis ? 1 : a.shape(i < axis ? i : i + mask.ndim() - 1);
    if (i != axis && x.shape(i) != 1 && x.shape(i) != n) {
      fail<ValueError>(
          "[",
          op,
          "] values of shape ",
          to_string(values.shape()),
          " cannot be broadcast to what a mask of shape ",
          to_string(mask.shape()),
          " selects of an array of shape ",
          to_string(a.shape()),
          ".");
    }
  }
  const int64_t count = x.shape(axis);
  if (count == 0 || a.size() == 0) {
    return a;
  }
  // The mask and the values, broadcast to the elements of `a`.
  Shape beside_lines(static_cast<size_t>(a.ndim()), 1);
  std::copy(mask.shape().begin(), mask.shape().end(), beside_lines.begin() + axis);
  array selected = mask;
  array spread = x;
  if (count == 1) {
    Axes added;
    for (int i = 0; i < mask.ndim(); ++i) {
      added.push_back(axis + i);
    }
    spread = expand_dims(squeeze(x, {axis}, s), added, s);
  } else {
    const Dtype dtype = mask.size() > INT32_MAX ? int64 : int32;
    const array rank =
        cumsum(reshape(astype(mask, dtype, s), {mask.size()}, s), 0, false, false, std::nullopt, s);
    const array entry = reshape(rank, mask.shape(), s);
    selected = logical_and(mask, less(entry, number(std::min(count, mask.size()), dtype), s), s);
    spread = take(x, entry, axis, s);
  }
  selected = reshape(selected, beside_lines, s);
  return where(selected, combine ? astype(combine(a, spread, s), a.dtype(), s) : spread, a, s);
}

} // namespace narrows
