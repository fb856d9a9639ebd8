#include "narrows/ops/stop_gradient.h"

#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

// The outputs are the first inputs.
class Forward : public View {
 public:
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      placement.view(i, i, Layout(placement.input_layout(i)));
    }
  }
};

class StopGradient final : public Record<NoFields, Forward> {
 public:
  const char* name() const override {
    return "stop_gradient";
  }
  std::vector<array> vjp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> jvp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {stop_gradient(inputs[0], op.stream)};
  }
};

class Depends final : public Record<NoFields, Forward> {
 public:
  const char* name() const override {
    return "depends";
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(cotangents.begin(), cotangents.end());
    result.resize(op.inputs.size());
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return {tangents.begin(), tangents.begin() + op.outputs.size()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const size_t count = op.outputs.size();
    const std::vector<array> first = as_batches(inputs.first(count), batched, size, op.stream);
    return depends(first, {inputs.begin() + count, inputs.end()});
  }
};

} // namespace

array stop_gradient(const array& a, StreamOrDevice s) {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<StopGradient>();
  return record(primitive, s.stream(), a.shape(), a.dtype(), {&a, 1});
}

std::vector<array> depends(
    const std::vector<array>& inputs, const std::vector<array>& dependencies) {
  if (inputs.empty()) {
    return {};
  }
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<Depends>();
  std::vector<array> all = inputs;
  all.insert(all.end(), dependencies.begin(), dependencies.end());
  return record(primitive, inputs[0].stream(), specs_of(inputs), all);
}

namespace {

const RecordRow<NoFields> kStopGradient("stop_gradient", &stop_gradient);
const OperationRow kDepends("depends", kAnyInputs, [](const OperationCall& call) {
  const auto first = call.inputs.begin();
  const auto last = call.inputs.end();
  const auto split =
      first + static_cast<ptrdiff_t>(std::min(call.outputs.size(), call.inputs.size()));
  return depends({first, split}, {split, last});
});

} // namespace

} // namespace narrows
