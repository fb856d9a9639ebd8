#include "narrows/ops/shape.h"

#include <algorithm>
#include <optional>

#include "narrows/ops/operation.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

// The strides that read elements with these strides in another shape, if there are any. Dimensions
// are merged into blocks that are contiguous in themselves, and every block must be a product of
// new dimensions. Both shapes have the same number of elements, which is not zero.
std::optional<Strides> reshaped_strides(
    const Shape& from, const Strides& from_strides, const Shape& to) {
  struct Block {
    int64_t size;
    int64_t stride; // of its last element
  };
  SmallVector<Block, 8> blocks; // from the last to the first
  for (size_t i = from.size(); i-- > 0;) {
    if (from[i] == 1) {
      continue;
    }
    if (!blocks.empty() && from_strides[i] == blocks.back().size * blocks.back().stride) {
      blocks.back().size *= from[i];
    } else {
      blocks.push_back({from[i], from_strides[i]});
    }
  }
  Strides strides(to.size(), 1);
  size_t block = 0;
  int64_t inside = 1; // elements of the block that the new dimensions have covered
  for (size_t i = to.size(); i-- > 0;) {
    if (to[i] == 1) {
      continue;
    }
    if (inside == blocks[block].size) {
      ++block;
      inside = 1;
    }
    if (blocks[block].size % (inside * to[i]) != 0) {
      return std::nullopt;
    }
    strides[i] = inside * blocks[block].stride;
    inside *= to[i];
  }
  return strides;
}

class Reshape final : public Record<NoFields, ViewOrCopy> {
 public:
  const char* name() const override {
    return "reshape";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    const Shape& to = placement.output_shape(0);
    if (layout.row_contiguous) {
      Layout row_major = Layout::row_major(to);
      row_major.offset = layout.offset;
      placement.view(0, 0, std::move(row_major));
    } else if (auto strides = reshaped_strides(placement.input_shape(0), layout.strides, to)) {
      placement.view(0, 0, Layout::strided(to, std::move(*strides), layout.offset));
    } else {
      placement.allocate(0);
    }
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {reshape(cotangents[0], op.inputs[0].shape(), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return {reshape(inputs[0], with_batch(size, op.outputs[0].shape()), op.stream)};
  }
};

struct OnesFields {
  Axes axes_; // ascending

  static constexpr std::tuple fields{field<Shape>("axis", &OnesFields::axes_)};
};

class ExpandDims final : public Record<OnesFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "expand_dims";
  }
  void place(Placement& placement) const override {
    Layout layout = placement.input_layout(0);
    for (int axis : axes_) {
      layout.strides.insert(static_cast<size_t>(axis), 1);
    }
    placement.view(0, 0, std::move(layout));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {squeeze(cotangents[0], axes_, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {expand_dims(inputs[0], behind_batch(axes_), op.stream)};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::expand_dims, .shows_input = true, .axes = &axes_};
  }
};

class Squeeze final : public Record<OnesFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "squeeze";
  }
  void place(Placement& placement) const override {
    Layout layout = placement.input_layout(0);
    for (size_t i = axes_.size(); i-- > 0;) {
      layout.strides.erase(static_cast<size_t>(axes_[i]));
    }
    placement.view(0, 0, std::move(layout));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {expand_dims(cotangents[0], axes_, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {squeeze(inputs[0], behind_batch(axes_), op.stream)};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::squeeze, .shows_input = true, .axes = &axes_};
  }
};

struct ContiguousFields {
  bool allow_col_major_;

  static constexpr std::tuple fields{
      hidden_field("allow_col_major", &ContiguousFields::allow_col_major_)};
};

class Contiguous final : public Record<ContiguousFields> {
 public:
  using Record::Record;

  FusionRule fusion() const override {
    return {.shows_input = true};
  }
  const char* name() const override {
    return "contiguous";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    const Strides& strides = layout.strides;
    const bool col_major = layout.dense && std::is_sorted(strides.begin(), strides.end());
    if (layout.row_contiguous || (allow_col_major_ && col_major)) {
      placement.view(0, 0, Layout(layout));
    } else {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }
  std::vector<array> vjp(const Recorded&, std::span<const array> cotangents) const override {
    return {cotangents[0]};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {contiguous(inputs[0], allow_col_major_, op.stream)};
  }
};

class ViewAs final : public Record<NoFields, ViewOrCopy> {
 public:
  const char* name() const override {
    return "view";
  }
  void place(Placement& placement) const override {
    const int64_t from = size_of(placement.input_dtype(0));
    const int64_t to = size_of(placement.output_dtype(0));
    const Layout& layout = placement.input_layout(0);
    const Shape& shape = placement.output_shape(0);
    if (from == to) {
      placement.view(0, 0, Layout(layout));
    } else if (element_count(shape) == 0) {
      placement.view(0, 0, Layout::row_major(shape));
    } else if (!scales(placement.input_shape(0), layout, from, to)) {
      placement.allocate(0);
    } else {
      Strides strides = layout.strides;
      for (int64_t& stride : strides) {
        stride = stride * from / to;
      }
      strides.back() = 1;
      placement.view(0, 0, Layout::strided(shape, std::move(strides), layout.offset * from / to));
    }
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {view(inputs[0], op.outputs[0].dtype(), op.stream)};
  }

 private:
  // Whether items of `from` bytes with these strides form whole items of `to` bytes.
  static bool scales(const Shape& shape, const Layout& layout, int64_t from, int64_t to) {
    const size_t last = shape.size() - 1;
    bool result = (shape[last] == 1 || layout.strides[last] == 1) && layout.offset * from % to == 0;
    for (size_t i = 0; i < last; ++i) {
      result &= shape[i] == 1 || layout.strides[i] * from % to == 0;
    }
    return result;
  }
};

// `shape` with its -1, if there is one, replaced so that it has `size` elements.
Shape infer_dimension(const char* op, const Shape& shape, int64_t size) {
  Shape result = shape;
  int64_t* inferred = std::find(result.begin(), result.end(), -1);
  if (inferred != result.end()) {
    if (std::find(inferred + 1, result.end(), -1) != result.end()) {
      fail<ValueError>(
          "[", op, "] shape ", to_string(shape), " has more than one -1, expected at most one.");
    }
    *inferred = 1;
    const int64_t others = checked_size(op, result);
    if (others == 0) {
      fail<ValueError>(
          "[", op, "] -1 in shape ", to_string(shape), " could be any size, expected a number.");
    }
    *inferred = size / others;
  }
  if (checked_size(op, result) != size) {
    fail<ValueError>(
        "[", op, "] ", size, " elements do not have the shape ", to_string(shape), ".");
  }
  return result;
}

array with_at_least(int ndim, const array& a, const Axes& added, StreamOrDevice s) {
  return a.ndim() >= ndim ? a : expand_dims(a, added, s);
}

} // namespace

array reshape(const array& a, const Shape& shape, StreamOrDevice s) {
  Shape result = infer_dimension("reshape", shape, a.size());
  if (result == a.shape()) {
    return a;
  }
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<Reshape>();
  return record(primitive, s.stream(), std::move(result), a.dtype(), {&a, 1});
}

array flatten(const array& a, int start_axis, int end_axis, StreamOrDevice s) {
  const int ndim = a.ndim();
  if (ndim == 0) {
    return reshape(a, {1}, s);
  }
  const int start = std::max(start_axis < 0 ? start_axis + ndim : start_axis, 0);
  const int end = std::min(end_axis < 0 ? end_axis + ndim : end_axis, ndim - 1);
  if (start > end) {
    fail<ValueError>(
        "[flatten] start_axis ",
        start_axis,
        " comes after end_axis ",
        end_axis,
        " in an array of shape ",
        to_string(a.shape()),
        ".");
  }
  Shape shape(a.shape().begin(), a.shape().begin() + start + 1);
  for (int axis = start + 1; axis < ndim; ++axis) {
    if (axis <= end) {
      shape.back() *= a.shape()[axis];
    } else {
      shape.push_back(a.shape()[axis]);
    }
  }
  return reshape(a, shape, s);
}

array unflatten(const array& a, int axis, const Shape& shape, StreamOrDevice s) {
  const int at = normalize_axis("unflatten", axis, a.shape());
  if (shape.empty()) {
    fail<ValueError>("[unflatten] shape (), expected at least one dimension.");
  }
  Shape result(a.shape().begin(), a.shape().begin() + at);
  for (int64_t n : infer_dimension("unflatten", shape, a.shape()[at])) {
    result.push_back(n);
  }
  for (int i = at + 1; i < a.ndim(); ++i) {
    result.push_back(a.shape()[i]);
  }
  return reshape(a, result, s);
}

array squeeze(const array& a, StreamOrDevice s) {
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    if (a.shape()[i] == 1) {
      axes.push_back(i);
    }
  }
  return squeeze(a, axes, s);
}

array squeeze(const array& a, const Axes& axes, StreamOrDevice s) {
  const Axes sorted = normalize_axes("squeeze", axes, a.shape());
  if (sorted.empty()) {
    return a;
  }
  Shape shape = a.shape();
  for (size_t i = sorted.size(); i-- > 0;) {
    const size_t axis = static_cast<size_t>(sorted[i]);
    if (shape[axis] != 1) {
      fail<ValueError>(
          "[squeeze] axis ",
          sorted[i],
          " of an array of shape ",
          to_string(a.shape()),
          " has size ",
          shape[axis],
          ", expected 1.");
    }
    shape.erase(axis);
  }
  return record(
      std::make_shared<Squeeze>(sorted), s.stream(), std::move(shape), a.dtype(), {&a, 1});
}

array expand_dims(const array& a, const Axes& axes, StreamOrDevice s) {
  Shape shape = a.shape();
  shape.resize(a.shape().size() + axes.size(), 1);
  const Axes sorted = normalize_axes("expand_dims", axes, shape);
  if (sorted.empty()) {
    return a;
  }
  shape = a.shape();
  for (int axis : sorted) {
    shape.insert(static_cast<size_t>(axis), 1);
  }
  return record(
      std::make_shared<ExpandDims>(sorted), s.stream(), std::move(shape), a.dtype(), {&a, 1});
}

array atleast_1d(const array& a, StreamOrDevice s) {
  return with_at_least(1, a, {0}, s);
}

array atleast_2d(const array& a, StreamOrDevice s) {
  return with_at_least(2, a, a.ndim() == 0 ? Axes{0, 1} : Axes{0}, s);
}

array atleast_3d(const array& a, StreamOrDevice s) {
  const Axes added = a.ndim() == 0 ? Axes{0, 1, 2} : a.ndim() == 1 ? Axes{0, 2} : Axes{2};
  return with_at_least(3, a, added, s);
}

array contiguous(const array& a, bool allow_col_major, StreamOrDevice s) {
  static const std::shared_ptr<const Primitive> primitives[] = {
      std::make_shared<Contiguous>(false), std::make_shared<Contiguous>(true)};
  return record(primitives[allow_col_major], s.stream(), a.shape(), a.dtype(), {&a, 1});
}

array view(const array& a, Dtype dtype, StreamOrDevice s) {
  if (dtype == a.dtype()) {
    return a;
  }
  Shape shape = a.shape();
  if (size_of(dtype) != a.itemsize()) {
    if (shape.empty()) {
      fail<ValueError>(
          "[view] a scalar of dtype ",
          name_of(a.dtype()),
          " as ",
          name_of(dtype),
          ", expected a dtype of the same size.");
    }
    const int64_t bytes = checked_multiply("view", shape.back(), a.itemsize());
    if (bytes % size_of(dtype) != 0) {
      fail<ValueError>(
          "[view] the last dimension of shape ",
          to_string(shape),
          " has ",
          bytes,
          " bytes, expected a multiple of ",
          size_of(dtype),
          " for dtype ",
          name_of(dtype),
          ".");
    }
    shape.back() = bytes / size_of(dtype);
  }
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<ViewAs>();
  return record(primitive, s.stream(), std::move(shape), dtype, {&a, 1});
}

namespace {

const OperationRow kReshape("reshape", 1, [](const OperationCall& call) {
  return reshape(call.inputs[0], call.shape(), call.stream);
});
const RecordRow<OnesFields> kExpandDims("expand_dims", &expand_dims);
const RecordRow<OnesFields> kSqueeze("squeeze", &squeeze);
const RecordRow<ContiguousFields> kContiguous("contiguous", &contiguous);
const OperationRow kView("view", 1, [](const OperationCall& call) {
  return view(call.inputs[0], call.dtype(), call.stream);
});

} // namespace

} // namespace narrows
