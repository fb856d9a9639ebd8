#include "narrows/ops/strided.h"

#include <algorithm>
#include <cstdlib>

#include "narrows/ops/creation.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

class Transpose final : public View {
 public:
  explicit Transpose(Axes axes) : axes_(std::move(axes)) {
  }

  const char* name() const override {
    return "transpose";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    Strides strides;
    for (int axis : axes_) {
      strides.push_back(layout.strides[static_cast<size_t>(axis)]);
    }
    placement.view(
        0, 0, Layout::strided(placement.output_shape(0), std::move(strides), layout.offset));
  }
  void describe(std::ostream& stream) const override {
    stream << "axes=" << to_string(Shape(axes_.begin(), axes_.end()));
  }

 private:
  Axes axes_;
};

class Diagonal final : public View {
 public:
  Diagonal(int offset, int axis1, int axis2) : offset_(offset), axis1_(axis1), axis2_(axis2) {
  }

  const char* name() const override {
    return "diagonal";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    const Shape& shape = placement.output_shape(0);
    Strides strides = layout.strides;
    const int64_t stride1 = strides[static_cast<size_t>(axis1_)];
    const int64_t stride2 = strides[static_cast<size_t>(axis2_)];
    strides.erase(static_cast<size_t>(std::max(axis1_, axis2_)));
    strides.erase(static_cast<size_t>(std::min(axis1_, axis2_)));
    strides.push_back(stride1 + stride2);
    int64_t start = layout.offset;
    if (element_count(shape) > 0) {
      start += offset_ >= 0 ? offset_ * stride2 : -offset_ * stride1;
    }
    placement.view(0, 0, Layout::strided(shape, std::move(strides), start));
  }
  void describe(std::ostream& stream) const override {
    stream << "offset=" << offset_ << ", axis1=" << axis1_ << ", axis2=" << axis2_;
  }

 private:
  int64_t offset_;
  int axis1_;
  int axis2_;
};

class AsStrided final : public View {
 public:
  AsStrided(Strides strides, int64_t offset) : strides_(std::move(strides)), offset_(offset) {
  }

  const char* name() const override {
    return "as_strided";
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    const int64_t start = placement.input_layout(0).offset + offset_;
    placement.view(0, 0, Layout::strided(placement.output_shape(0), Strides(strides_), start));
  }
  void describe(std::ostream& stream) const override {
    stream << "strides=" << to_string(strides_) << ", offset=" << offset_;
  }

 private:
  Strides strides_;
  int64_t offset_;
};

// Whether offset + sum of i * stride stays in [0, size) for all indices of the shape.
bool stays_inside(const Shape& shape, const Strides& strides, int64_t offset, int64_t size) {
  int64_t lowest = offset;
  int64_t highest = offset;
  bool overflow = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t reach;
    overflow |= __builtin_mul_overflow(shape[i] - 1, strides[i], &reach);
    int64_t& end = reach < 0 ? lowest : highest;
    overflow |= __builtin_add_overflow(end, reach, &end);
  }
  return !overflow && lowest >= 0 && highest < size;
}

} // namespace

array transpose(const array& a, StreamOrDevice s) {
  Axes axes;
  for (int i = a.ndim(); i-- > 0;) {
    axes.push_back(i);
  }
  return transpose(a, axes, s);
}

array transpose(const array& a, const Axes& axes, StreamOrDevice s) {
  if (axes.ndim() != a.ndim()) {
    fail<ValueError>(
        "[transpose] ",
        axes.size(),
        " axes, expected one for each dimension of an array of shape ",
        to_string(a.shape()),
        ".");
  }
  normalize_axes("transpose", axes, a.shape());
  Axes normalized;
  Shape shape;
  for (int axis : axes) {
    normalized.push_back(axis < 0 ? axis + a.ndim() : axis);
    shape.push_back(a.shape()[static_cast<size_t>(normalized.back())]);
  }
  if (std::is_sorted(normalized.begin(), normalized.end())) {
    return a;
  }
  return record(
      std::make_shared<Transpose>(std::move(normalized)),
      s.stream(),
      std::move(shape),
      a.dtype(),
      {&a, 1});
}

array swapaxes(const array& a, int axis1, int axis2, StreamOrDevice s) {
  const int first = normalize_axis("swapaxes", axis1, a.shape());
  const int second = normalize_axis("swapaxes", axis2, a.shape());
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    axes.push_back(i == first ? second : i == second ? first : i);
  }
  return transpose(a, axes, s);
}

array moveaxis(const array& a, int source, int destination, StreamOrDevice s) {
  const int from = normalize_axis("moveaxis", source, a.shape());
  const int to = normalize_axis("moveaxis", destination, a.shape());
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i != from) {
      axes.push_back(i);
    }
  }
  axes.insert(static_cast<size_t>(to), from);
  return transpose(a, axes, s);
}

array matrix_transpose(const array& a, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[matrix_transpose] array of shape ",
        to_string(a.shape()),
        ", expected at least 2 dimensions.");
  }
  return swapaxes(a, -1, -2, s);
}

array diagonal(const array& a, int offset, int axis1, int axis2, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[diagonal] array of shape ", to_string(a.shape()), ", expected at least 2 dimensions.");
  }
  const int first = normalize_axis("diagonal", axis1, a.shape());
  const int second = normalize_axis("diagonal", axis2, a.shape());
  if (first == second) {
    fail<ValueError>("[diagonal] axis1 and axis2 are both ", axis1, ", expected different axes.");
  }
  Shape shape;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i != first && i != second) {
      shape.push_back(a.shape()[static_cast<size_t>(i)]);
    }
  }
  const int64_t rows = a.shape(first) + std::min(int64_t{offset}, int64_t{0});
  const int64_t columns = a.shape(second) - std::max(int64_t{offset}, int64_t{0});
  shape.push_back(std::max(std::min(rows, columns), int64_t{0}));
  return record(
      std::make_shared<Diagonal>(offset, first, second),
      s.stream(),
      std::move(shape),
      a.dtype(),
      {&a, 1});
}

array diag(const array& a, int k, StreamOrDevice s) {
  if (a.ndim() == 2) {
    return diagonal(a, k, 0, 1, s);
  }
  if (a.ndim() != 1) {
    fail<ValueError>(
        "[diag] array of shape ", to_string(a.shape()), ", expected 1 or 2 dimensions.");
  }
  // Row-major, the diagonal is every (n + 1)-th element.
  const int64_t n = a.size() + std::abs(int64_t{k});
  checked_size("diag", {n, n});
  const int64_t start = k >= 0 ? k : -int64_t{k} * n;
  const int64_t stop = a.size() == 0 ? start : start + (a.size() - 1) * (n + 1) + 1;
  const array flat = slice_update(zeros({n * n}, a.dtype(), s), a, {start}, {stop}, {n + 1}, s);
  return reshape(flat, {n, n}, s);
}

array as_strided(
    const array& a, const Shape& shape, const Strides& strides, int64_t offset, StreamOrDevice s) {
  if (shape.size() != strides.size()) {
    fail<ValueError>(
        "[as_strided] shape ",
        to_string(shape),
        " and strides ",
        to_string(strides),
        ", expected one stride for each dimension.");
  }
  const bool empty = checked_size("as_strided", shape) == 0;
  if (!empty && !stays_inside(shape, strides, offset, a.size())) {
    fail<ValueError>(
        "[as_strided] shape ",
        to_string(shape),
        " with strides ",
        to_string(strides),
        " and offset ",
        offset,
        " reaches outside of an array of ",
        a.size(),
        " elements.");
  }
  return record(
      std::make_shared<AsStrided>(strides, empty ? 0 : offset),
      s.stream(),
      shape,
      a.dtype(),
      {&a, 1});
}

} // namespace narrows
