#include "narrows/ops/pairs.h"

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/scatter.h"
#include "narrows/ops/shape.h"

namespace narrows {

Shape stack_shape(const array& a) {
  return Shape(a.shape().begin(), a.shape().end() - 2);
}

Shape of_matrices(Shape shape, int64_t rows, int64_t columns) {
  shape.push_back(rows);
  shape.push_back(columns);
  return shape;
}

array stacked(const array& a, StreamOrDevice s) {
  return reshape(a, {element_count(stack_shape(a)), a.shape(-2), a.shape(-1)}, s);
}

namespace {

array numbers_of(
    const char* op, const std::optional<array>& given, const Shape& stack, StreamOrDevice s) {
  const int64_t count = element_count(stack);
  if (!given) {
    return reshape(arange(int64_t{0}, count, int64_t{1}, uint32, s), stack, s);
  }
  if (!is_integer(given->dtype())) {
    fail<ValueError>(
        "[", op, "] indices of dtype ", name_of(given->dtype()), ", expected integers.");
  }
  if (given->size() > 0 && count == 0) {
    fail<ValueError>(
        "[", op, "] ", given->size(), " indices of a stack of no matrices, expected none.");
  }
  if (is_unsigned(given->dtype())) {
    return astype(*given, uint32, s);
  }
  const array wide = astype(*given, int64, s);
  const array below = less(wide, number(0, int64), s);
  const array from_end = add(wide, number(count, int64), s);
  return astype(where(below, from_end, wide, s), uint32, s);
}

} // namespace

Pairs::Pairs(
    const char* op,
    const array& a,
    const array& b,
    const std::optional<array>& lhs_indices,
    const std::optional<array>& rhs_indices,
    StreamOrDevice s) {
  lhs = numbers_of(op, lhs_indices, stack_shape(a), s);
  rhs = numbers_of(op, rhs_indices, stack_shape(b), s);
  const Shape shape = broadcast_shapes(op, lhs.shape(), rhs.shape());
  lhs = broadcast_to(lhs, shape, s);
  rhs = broadcast_to(rhs, shape, s);
}

array added_up(const array& parts, const array& indices, const array& like, StreamOrDevice s) {
  const array sums = zeros(stacked(like, s).shape(), parts.dtype(), s);
  Shape updates = indices.shape();
  updates.push_back(1);
  const array each = reshape(parts, of_matrices(updates, like.shape(-2), like.shape(-1)), s);
  return reshape(scatter(sums, {indices}, each, {0}, ScatterOp::add, s), like.shape(), s);
}

} // namespace narrows
