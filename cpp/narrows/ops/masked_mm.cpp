#include "narrows/ops/masked_mm.h"

#include "narrows/core/divided_up.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"

namespace narrows {
namespace {

// A mask of blocks as a mask of the elements of matrices (..., rows, columns).
array mask_of_elements(
    const char* name, const array& mask, const Shape& shape, int block, StreamOrDevice s) {
  const int64_t rows = shape[shape.size() - 2];
  const int64_t columns = shape[shape.size() - 1];
  Shape blocks(shape.begin(), shape.end() - 2);
  blocks.push_back(divided_up(rows, block));
  blocks.push_back(divided_up(columns, block));
  if (mask.ndim() < 2 || mask.shape(-2) != blocks[blocks.size() - 2] ||
      mask.shape(-1) != blocks.back() ||
      broadcast_shapes("block_masked_mm", mask.shape(), blocks) != blocks) {
    fail<ValueError>(
        "[block_masked_mm] ",
        name,
        " of shape ",
        to_string(mask.shape()),
        ", expected ",
        to_string(blocks),
        " for ",
        to_string(shape),
        " in blocks of ",
        block,
        ".");
  }
  Shape stack(mask.shape().begin(), mask.shape().end() - 2);
  Shape stretched = stack;
  for (const int64_t size : {mask.shape(-2), int64_t{block}, mask.shape(-1), int64_t{block}}) {
    stretched.push_back(size);
  }
  Shape whole = stack;
  whole.push_back(mask.shape(-2) * block);
  whole.push_back(mask.shape(-1) * block);
  Shape stop = stack;
  stop.push_back(rows);
  stop.push_back(columns);
  const array elements =
      reshape(broadcast_to(expand_dims(mask, {-1, -3}, s), stretched, s), whole, s);
  return slice(elements, Shape(stop.size(), 0), stop, Strides(stop.size(), 1), s);
}

array masked(
    const char* name,
    const array& a,
    const std::optional<array>& mask,
    int block,
    StreamOrDevice s) {
  if (!mask) {
    return a;
  }
  const array elements = mask_of_elements(name, *mask, a.shape(), block, s);
  if (mask->dtype() == bool_) {
    return where(elements, a, number(0, a.dtype()), s);
  }
  return multiply(a, astype(elements, a.dtype(), s), s);
}

// Vectors as matrices, as matmul() takes them.
array as_matrix(const char* op, const array& a, bool left, StreamOrDevice s) {
  if (a.ndim() == 0) {
    fail<ValueError>("[", op, "] an array of shape (), expected one dimension at least.");
  }
  return a.ndim() == 1 ? expand_dims(a, {left ? 0 : 1}, s) : a;
}

Dtype floating_dtype(const char* op, const array& a, const array& b) {
  const Dtype dtype = promote(a.dtype(), b.dtype());
  if (!is_floating(dtype)) {
    fail<ValueError>(
        "[",
        op,
        "] dtypes ",
        name_of(a.dtype()),
        " and ",
        name_of(b.dtype()),
        ", expected real floating point numbers.");
  }
  return dtype;
}

} // namespace

array block_masked_mm(
    const array& a,
    const array& b,
    int block_size,
    const std::optional<array>& mask_out,
    const std::optional<array>& mask_lhs,
    const std::optional<array>& mask_rhs,
    StreamOrDevice s) {
  if (block_size != 32 && block_size != 64) {
    fail<ValueError>("[block_masked_mm] block_size ", block_size, ", expected 32 or 64.");
  }
  const Dtype dtype = floating_dtype("block_masked_mm", a, b);
  const array left = astype(as_matrix("block_masked_mm", a, true, s), dtype, s);
  const array right = astype(as_matrix("block_masked_mm", b, false, s), dtype, s);
  const array product = matmul(
      masked("mask_lhs", left, mask_lhs, block_size, s),
      masked("mask_rhs", right, mask_rhs, block_size, s),
      s);
  array result = masked("mask_out", product, mask_out, block_size, s);
  if (b.ndim() == 1) {
    result = squeeze(result, {-1}, s);
  }
  return a.ndim() == 1 ? squeeze(result, {b.ndim() == 1 ? -1 : -2}, s) : result;
}

array segmented_mm(const array& a, const array& b, const array& segments, StreamOrDevice s) {
  const Dtype dtype = floating_dtype("segmented_mm", a, b);
  if (a.ndim() != 2 || b.ndim() != 2 || a.shape(1) != b.shape(0)) {
    fail<ValueError>(
        "[segmented_mm] arrays of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected (m, k) and (k, n).");
  }
  if (!is_integer(segments.dtype()) || segments.ndim() == 0 || segments.shape(-1) != 2) {
    fail<ValueError>(
        "[segmented_mm] segments of shape ",
        to_string(segments.shape()),
        " and dtype ",
        name_of(segments.dtype()),
        ", expected integers of shape (..., 2).");
  }
  // Sets columns outside of a segment to zero, whatever they contain: (..., 1, k), and rows of b.
  const array bounds = astype(segments, int64, s);
  const auto bound = [&](int64_t which) {
    Shape start(bounds.shape().size(), 0);
    Shape stop = bounds.shape();
    start.back() = which;
    stop.back() = which + 1;
    return expand_dims(slice(bounds, start, stop, Strides(stop.size(), 1), s), {-2}, s);
  };
  const array at = arange(int64_t{0}, a.shape(1), int64_t{1}, int64, s);
  const array inside = logical_and(greater_equal(at, bound(0), s), less(at, bound(1), s), s);
  const array zero = number(0, dtype);
  const array left = where(inside, astype(a, dtype, s), zero, s);
  return matmul(left, astype(b, dtype, s), s);
}

} // namespace narrows
