#include "narrows/ops/elementwise.h"

#include <array>
#include <memory>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise_rules.h"
#include "narrows/ops/normalized_rows.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/view.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

constexpr ElementwiseInfo kTable[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  {#name,                                                                             \
   arity,                                                                             \
   ElementwiseInfo::Operands::operands,                                               \
   ResultRule::result,                                                                \
   ElementwiseInfo::Kernels::kernels,                                                 \
   summary},
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};
constexpr size_t kOpCount = std::size(kTable);

bool contains(ElementwiseInfo::Kernels kernels, Dtype dtype) {
  using Kernels = ElementwiseInfo::Kernels;
  switch (kernels) {
    case Kernels::any:
      return true;
    case Kernels::numeric:
      return dtype != bool_;
    case Kernels::real:
      return !is_complex(dtype);
    case Kernels::inexact:
      return is_inexact(dtype);
    case Kernels::floating:
      return is_floating(dtype);
    case Kernels::integral:
      return dtype == bool_ || is_integer(dtype);
    case Kernels::boolean:
      return dtype == bool_;
  }
  return false;
}

// Overwrites an input that dies here, if there is one. Else the output takes the axis order of its
// full-sized inputs if these are dense and agree, so that all arrays are walked in memory order.
void place_elementwise(Placement& placement) {
  const Strides* common = nullptr;
  bool agree = true;
  for (uint32_t i = 0; i < placement.input_count(); ++i) {
    if (placement.donate(0, i)) {
      return;
    }
    const Layout& layout = placement.input_layout(i);
    if (placement.input_shape(i) == placement.output_shape(0)) {
      agree &= layout.dense && (!common || *common == layout.strides);
      common = &layout.strides;
    }
  }
  if (common && agree) {
    placement.allocate(0, Strides(*common));
  } else {
    placement.allocate(0);
  }
}

void encode_broadcast(Encoder& encoder, const KernelId& kernel, const StepView& step) {
  const ArrayView& output = step.outputs[0];
  std::array<Layout, 3> layouts;
  std::array<ArrayView, 3> inputs;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    const ArrayView& input = step.inputs[i];
    inputs[i] = input;
    if (*input.shape != *output.shape) {
      layouts[i].strides = broadcast_strides(*input.shape, input.layout->strides, *output.shape);
      layouts[i].offset = input.layout->offset;
      inputs[i].layout = &layouts[i];
    }
  }
  encode_elementwise(encoder, kernel, {inputs.data(), step.inputs.size()}, output);
}

// What all primitives of this file are: the output's element i depends on the inputs' elements i.
class Pointwise : public Primitive {
 public:
  void place(Placement& placement) const override {
    place_elementwise(placement);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array& output = op.outputs[0];
    std::vector<array> operands;
    for (size_t i = 0; i < inputs.size(); ++i) {
      operands.push_back(aligned(inputs[i], batched[i], output.ndim(), op.stream));
    }
    return {record(
        op.primitive, op.stream, with_batch(size, output.shape()), output.dtype(), operands)};
  }
};

struct ElementwiseFields {
  ElementwiseOp op_;

  static constexpr std::tuple<> fields{};
};

class Elementwise : public Record<ElementwiseFields, Pointwise> {
 public:
  using Record::Record;

  const char* name() const override {
    return elementwise_info(op_).name;
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::elementwise, static_cast<uint8_t>(op_), in, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_broadcast(encoder, kernel(step.inputs[0].dtype, step.outputs[0].dtype), step);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    for (size_t i = 0; i < result.size(); ++i) {
      const array& input = op.inputs[i];
      if (op.wants(i)) {
        array g = conjugated(astype(cotangents[0], input.dtype(), op.stream), op.stream);
        g = elementwise_change(op_, i, g, op.inputs, op.outputs[0], op.stream);
        if (g) {
          result[i] = sum_to(conjugated(g, op.stream), input.shape(), op.stream);
        }
      }
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const array& output = op.outputs[0];
    array sum;
    for (size_t i = 0; i < tangents.size(); ++i) {
      const array part = tangents[i]
                             ? elementwise_change(op_, i, tangents[i], op.inputs, output, op.stream)
                             : array();
      if (part) {
        sum = sum ? add(sum, part, op.stream) : part;
      }
    }
    if (sum) {
      sum = broadcast_to(astype(sum, output.dtype(), op.stream), output.shape(), op.stream);
    }
    return {sum};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::elementwise, .op = static_cast<uint8_t>(op_)};
  }
};

// A product that counts as a function of its first input alone: see ops/normalized_rows.h.
class NormalizedRows final : public Elementwise {
 public:
  NormalizedRows() : Elementwise(ElementwiseOp::multiply) {
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {op.wants(0) ? change(op, cotangents[0]) : array(), array()};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return {tangents[0] ? change(op, tangents[0]) : array()};
  }

 private:
  // The derivative is a symmetric matrix, so it serves both rules.
  static array change(const Recorded& op, const array& g) {
    const array& y = op.outputs[0];
    const Stream s = op.stream;
    const array along = mean(multiply(g, y, s), Axes{-1}, true, s);
    return multiply(op.inputs[1], subtract(g, multiply(y, along, s), s), s);
  }
};

class AsType final : public Record<NoFields, Pointwise> {
 public:
  const char* name() const override {
    return "astype";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {astype(cotangents[0], op.inputs[0].dtype(), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return {astype(tangents[0], op.outputs[0].dtype(), op.stream)};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::cast};
  }
};

class Select final : public Record<NoFields, Pointwise> {
 public:
  const char* name() const override {
    return "where";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::select, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const Dtype dtype = step.outputs[0].dtype;
    encode_broadcast(encoder, kernel(bool_, dtype), step);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& condition = op.inputs[0];
    const array& g = cotangents[0];
    const array zero = number(0, g.dtype());
    const array x = where(condition, g, zero, op.stream);
    const array y = where(condition, zero, g, op.stream);
    return {
        array(),
        sum_to(x, op.inputs[1].shape(), op.stream),
        sum_to(y, op.inputs[2].shape(), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const array zero = number(0, op.outputs[0].dtype());
    const array inputs[] = {
        op.inputs[0], tangents[1] ? tangents[1] : zero, tangents[2] ? tangents[2] : zero};
    return op.again(inputs);
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::select};
  }
};

// One primitive for each row, shared by all nodes.
const std::shared_ptr<const Primitive>& primitive_of(ElementwiseOp op) {
  static const auto primitives = [] {
    std::array<std::shared_ptr<const Primitive>, kOpCount> all;
    for (size_t i = 0; i < kOpCount; ++i) {
      all[i] = std::make_shared<Elementwise>(static_cast<ElementwiseOp>(i));
    }
    return all;
  }();
  return primitives[static_cast<size_t>(op)];
}

} // namespace

Dtype ElementwiseInfo::operand_dtype(Dtype inputs) const {
  Dtype dtype = inputs;
  if (operands == Operands::floating) {
    dtype = at_least_float(inputs);
  } else if (operands == Operands::logical) {
    dtype = bool_;
  }
  if (!contains(kernels, dtype)) {
    fail<ValueError>("[", name, "] is not defined for dtype ", name_of(inputs), ".");
  }
  return dtype;
}

const ElementwiseInfo& elementwise_info(ElementwiseOp op) {
  return kTable[static_cast<size_t>(op)];
}

std::span<const ElementwiseInfo> elementwise_table() {
  return kTable;
}

array elementwise(ElementwiseOp op, std::span<const array> inputs, StreamOrDevice s) {
  const ElementwiseInfo& info = elementwise_info(op);
  const Stream stream = s.stream();
  if (inputs.size() == 1) {
    const Dtype dtype = info.operand_dtype(inputs[0].dtype());
    const array operand = astype(inputs[0], dtype, stream);
    return record(
        primitive_of(op), stream, operand.shape(), result_dtype(op, dtype), {&operand, 1});
  }
  const Dtype dtype = info.operand_dtype(promote(inputs[0].dtype(), inputs[1].dtype()));
  Shape shape = broadcast_shapes(info.name, inputs[0].shape(), inputs[1].shape());
  checked_size(info.name, shape);
  const std::array<array, 2> operands = {
      astype(inputs[0], dtype, stream), astype(inputs[1], dtype, stream)};
  return record(primitive_of(op), stream, std::move(shape), result_dtype(op, dtype), operands);
}

#define NARROWS_DEFINE_1(name)                           \
  array name(const array& a, StreamOrDevice s) {         \
    return elementwise(ElementwiseOp::name, {&a, 1}, s); \
  }
#define NARROWS_DEFINE_2(name)                                    \
  array name(const array& a, const array& b, StreamOrDevice s) {  \
    return elementwise(ElementwiseOp::name, std::array{a, b}, s); \
  }
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_DEFINE_##arity(name)
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
#undef NARROWS_DEFINE_1
#undef NARROWS_DEFINE_2

array normalized_rows(const array& rows, const array& inverse, StreamOrDevice s) {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<NormalizedRows>();
  return record(primitive, s.stream(), rows.shape(), rows.dtype(), std::array{rows, inverse});
}

static array record_astype(const array& a, Dtype dtype, StreamOrDevice s) {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<AsType>();
  return record(primitive, s.stream(), a.shape(), dtype, {&a, 1});
}

array astype(const array& a, Dtype dtype, StreamOrDevice s) {
  return a.dtype() == dtype ? a : record_astype(a, dtype, s);
}

array copy(const array& a, StreamOrDevice s) {
  return record_astype(a, a.dtype(), s);
}

array where(const array& condition, const array& x, const array& y, StreamOrDevice s) {
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<Select>();
  const Stream stream = s.stream();
  const Dtype dtype = promote(x.dtype(), y.dtype());
  Shape shape =
      broadcast_shapes("where", broadcast_shapes("where", condition.shape(), x.shape()), y.shape());
  checked_size("where", shape);
  const std::array<array, 3> operands = {
      astype(condition, bool_, stream), astype(x, dtype, stream), astype(y, dtype, stream)};
  return record(primitive, stream, std::move(shape), dtype, operands);
}

namespace {

bool add_elementwise_rows() {
  for (size_t i = 0; i < kOpCount; ++i) {
    OperationRow(
        kTable[i].name,
        kTable[i].arity,
        [op = static_cast<ElementwiseOp>(i)](const OperationCall& call) {
          return elementwise(op, call.inputs, call.stream);
        });
  }
  return true;
}
const bool kElementwise = add_elementwise_rows();
const OperationRow kAsType("astype", 1, [](const OperationCall& call) {
  return astype(call.inputs[0], call.dtype(), call.stream);
});
const RecordRow<NoFields, 3> kWhere("where", &where);

} // namespace

} // namespace narrows
