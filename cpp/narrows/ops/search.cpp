#include "narrows/ops/search.h"

#include <bit>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/sort.h"
#include "narrows/record/trace.h"

namespace narrows {
namespace {

// The number of elements of a vector. A function for all shapes counts them by an operation.
array length_of(const array& a, Dtype dtype, StreamOrDevice s) {
  if (!shapes_vary()) {
    return number(a.size(), dtype);
  }
  const array each = logical_or(equal(a, a, s), not_equal(a, a, s), s);
  return sum(astype(each, dtype, s), std::nullopt, false, s);
}

// Whether `a` comes before `b`: NaN is last.
array comes_before(const array& a, const array& b, StreamOrDevice s) {
  const array is_less = less(a, b, s);
  if (!is_inexact(a.dtype())) {
    return is_less;
  }
  const array is_last = logical_and(logical_not(isnan(a, s), s), isnan(b, s), s);
  return logical_or(is_less, is_last, s);
}

} // namespace

array searchsorted(
    const array& sorted_sequence, const array& all_values, bool right, StreamOrDevice s) {
  if (sorted_sequence.ndim() != 1) {
    fail<ValueError>(
        "[searchsorted] a sorted sequence of shape ",
        to_string(sorted_sequence.shape()),
        ", expected one dimension.");
  }
  const int64_t length = sorted_sequence.size();
  if (length == 0) {
    return zeros(all_values.shape(), uint32, s);
  }
  const Dtype dtype = promote(sorted_sequence.dtype(), all_values.dtype());
  const array sorted = astype(sorted_sequence, dtype, s);
  const array values = astype(all_values, dtype, s);
  // Finds how many elements come before, bit by bit from the highest one.
  const bool is_short = length < INT32_MAX / 2 && !shapes_vary();
  const Dtype index = is_short ? int32 : int64;
  const auto longest = static_cast<uint64_t>(shapes_vary() ? UINT32_MAX : length);
  const array count = length_of(sorted, index, s);
  array before = zeros(values.shape(), index, s);
  for (auto step = static_cast<int64_t>(std::bit_floor(longest)); step > 0; step /= 2) {
    const array more = add(before, number(step, index), s);
    const array last = take(sorted, subtract(more, number(1, index), s), 0, s);
    const array fits =
        right ? logical_not(comes_before(values, last, s), s) : comes_before(last, values, s);
    const array is_inside = less_equal(more, count, s);
    before = where(logical_and(fits, is_inside, s), more, before, s);
  }
  return astype(before, uint32, s);
}

UniqueElements unique(
    const array& a, int64_t size, const std::optional<array>& fill, StreamOrDevice s) {
  if (size < 0) {
    fail<ValueError>("[unique] size ", size, ", expected 0 or more.");
  }
  if (fill && fill->size() != 1) {
    fail<ValueError>(
        "[unique] a fill value of shape ", to_string(fill->shape()), ", expected one element.");
  }
  const array x = reshape(a, {a.size()}, s);
  if (x.size() == 0 || size == 0) {
    if (size > 0 && !fill) {
      fail<ValueError>("[unique] an empty array and no fill value, expected one.");
    }
    return {
        fill ? full({size}, reshape(*fill, {1}, s), a.dtype(), s) : zeros({size}, a.dtype(), s),
        zeros({size}, uint32, s),
        zeros(a.shape(), uint32, s),
        zeros({size}, int32, s)};
  }
  const array order = argsort(x, 0, s);
  const array sorted = take(x, order, 0, s);
  // The rank of each element among the different ones.
  const array is_new = concatenate(
      {zeros({1}, bool_, s),
       not_equal(
           slice(sorted, {1}, {x.size()}, {1}, s), slice(sorted, {0}, {x.size() - 1}, {1}, s), s)},
      0,
      s);
  const array rank = cumsum(astype(is_new, int32, s), 0, false, true, std::nullopt, s);
  // Of equal elements only the first one is written. Nothing is written behind `size`.
  const array is_first =
      concatenate({ones({1}, bool_, s), slice(is_new, {1}, {x.size()}, {1}, s)}, 0, s);
  const array target = where(is_first, rank, number(size, int32), s);
  const auto spread = [&](const array& filling, const array& elements) {
    return put_along_axis(broadcast_to(filling, {size}, s), target, elements, 0, s);
  };
  const array first = slice(sorted, {0}, {1}, {1}, s);
  const array filling = fill ? astype(reshape(*fill, {1}, s), a.dtype(), s) : first;
  const array last = number(size - 1, int32);
  const array inverse = put_along_axis(
      zeros({x.size()}, uint32, s), order, astype(minimum(rank, last, s), uint32, s), 0, s);
  return {
      spread(filling, sorted),
      spread(slice(order, {0}, {1}, {1}, s), order),
      reshape(inverse, a.shape(), s),
      scatter_add_axis(zeros({size}, int32, s), rank, ones({x.size()}, int32, s), 0, s)};
}

} // namespace narrows
