#include "narrows/ops/rules.h"

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"

namespace narrows {

array zeros_like(const array& a, StreamOrDevice s) {
  return zeros(a.shape(), a.dtype(), s);
}

array sum_to(const array& a, const Shape& shape, StreamOrDevice s) {
  if (a.shape() == shape) {
    return a;
  }
  const int added = a.ndim() - shape.ndim();
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i < added || (shape[i - added] == 1 && a.shape()[i] != 1)) {
      axes.push_back(i);
    }
  }
  return reshape(astype(sum(a, axes, false, s), a.dtype(), s), shape, s);
}

std::vector<array> filled(
    std::span<const array> derivatives, std::span<const array> like, StreamOrDevice s) {
  std::vector<array> result(derivatives.begin(), derivatives.end());
  for (size_t i = 0; i < result.size(); ++i) {
    if (!result[i]) {
      result[i] = zeros_like(like[i], s);
    }
  }
  return result;
}

array conjugated(const array& a, StreamOrDevice s) {
  return is_complex(a.dtype()) ? conjugate(a, s) : a;
}

std::vector<array> linear_jvp(const Recorded& op, std::span<const array> tangents) {
  return op.again(filled(tangents, op.inputs, op.stream));
}

std::vector<array> again_for_batch(
    const Recorded& op, std::span<const array> inputs, int64_t size) {
  const array& output = op.outputs[0];
  return {
      record(op.primitive, op.stream, with_batch(size, output.shape()), output.dtype(), inputs)};
}

Shape with_batch(int64_t size, const Shape& shape) {
  Shape result = shape;
  result.insert(0, size);
  return result;
}

Axes behind_batch(const Axes& axes) {
  Axes result = axes;
  for (int& axis : result) {
    ++axis;
  }
  return result;
}

array aligned(const array& a, bool batched, int ndim, StreamOrDevice s) {
  if (!batched || a.ndim() == ndim + 1) {
    return a;
  }
  Axes added;
  for (int i = a.ndim(); i < ndim + 1; ++i) {
    added.push_back(1 + i - a.ndim());
  }
  return expand_dims(a, added, s);
}

array as_batch(const array& a, bool batched, int64_t size, StreamOrDevice s) {
  return batched ? a : broadcast_to(a, with_batch(size, a.shape()), s);
}

std::vector<array> as_batches(
    std::span<const array> arrays,
    const std::vector<bool>& batched,
    int64_t size,
    StreamOrDevice s) {
  std::vector<array> result;
  for (size_t i = 0; i < arrays.size(); ++i) {
    result.push_back(as_batch(arrays[i], batched[i], size, s));
  }
  return result;
}

} // namespace narrows
