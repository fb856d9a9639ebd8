#include "narrows/ops/broadcast.h"

#include <algorithm>

#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

class BroadcastTo final : public Record<NoFields, LinearView> {
 public:
  const char* name() const override {
    return "broadcast_to";
  }
  void place(Placement& placement) const override {
    const Shape& to = placement.output_shape(0);
    const Layout& layout = placement.input_layout(0);
    Strides strides = broadcast_strides(placement.input_shape(0), layout.strides, to);
    placement.view(0, 0, Layout::strided(to, std::move(strides), layout.offset));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {sum_to(cotangents[0], op.inputs[0].shape(), op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    const Shape& shape = op.outputs[0].shape();
    const array entries = aligned(inputs[0], true, shape.ndim(), op.stream);
    return {broadcast_to(entries, with_batch(size, shape), op.stream)};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::broadcast, .shows_input = true};
  }
};

} // namespace

Strides broadcast_strides(const Shape& from, const Strides& strides, const Shape& to) {
  Strides result(to.size());
  const size_t added = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    result[added + i] = from[i] == 1 && to[added + i] != 1 ? 0 : strides[i];
  }
  return result;
}

array broadcast_to(const array& a, const Shape& shape, StreamOrDevice s) {
  if (a.shape() == shape) {
    return a;
  }
  checked_size("broadcast_to", shape);
  if (broadcast_shapes("broadcast_to", a.shape(), shape) != shape) {
    fail<ValueError>(
        "[broadcast_to] an array of shape ",
        to_string(a.shape()),
        " cannot be broadcast to ",
        to_string(shape),
        ".");
  }
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<BroadcastTo>();
  return record(primitive, s.stream(), shape, a.dtype(), {&a, 1});
}

Shape broadcast_shapes(const std::vector<Shape>& shapes) {
  if (shapes.empty()) {
    fail<ValueError>("[broadcast_shapes] no shapes, expected at least one.");
  }
  Shape result;
  for (const Shape& shape : shapes) {
    result = broadcast_shapes("broadcast_shapes", result, shape);
  }
  return result;
}

std::vector<array> broadcast_arrays(const std::vector<array>& arrays, StreamOrDevice s) {
  Shape shape;
  for (const array& a : arrays) {
    shape = broadcast_shapes("broadcast_arrays", shape, a.shape());
  }
  std::vector<array> results;
  results.reserve(arrays.size());
  for (const array& a : arrays) {
    results.push_back(broadcast_to(a, shape, s));
  }
  return results;
}

std::vector<array> meshgrid(
    const std::vector<array>& arrays, bool sparse, std::string_view indexing, StreamOrDevice s) {
  if (indexing != "xy" && indexing != "ij") {
    fail<ValueError>("[meshgrid] indexing \"", indexing, "\", expected \"xy\" or \"ij\".");
  }
  const size_t count = arrays.size();
  std::vector<array> results;
  results.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const bool swapped = indexing == "xy" && count > 1 && i < 2;
    Shape shape(count, 1);
    shape[swapped ? 1 - i : i] = -1;
    results.push_back(reshape(arrays[i], shape, s));
  }
  return sparse ? results : broadcast_arrays(results, s);
}

namespace {

const OperationRow kBroadcastTo("broadcast_to", 1, [](const OperationCall& call) {
  return broadcast_to(call.inputs[0], call.shape(), call.stream);
});

} // namespace

} // namespace narrows
