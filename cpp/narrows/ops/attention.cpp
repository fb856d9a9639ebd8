#include "narrows/ops/attention.h"

#include <algorithm>
#include <array>

#include "metal_kernels/attention.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/attention_parts.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/plan/placement.h"
#include "narrows/record/work.h"

namespace narrows {
namespace {

constexpr const char* kName = "scaled_dot_product_attention";

// How kernels walk an array of the batch's dimensions, heads, rows and columns.
AttentionView view_of(const ArrayView& a) {
  AttentionView view{};
  const auto stride = [&](size_t axis) {
    return (*a.shape)[axis] == 1 ? 0 : a.layout->strides[axis];
  };
  const size_t batch = a.shape->size() - 3;
  for (size_t d = 0; d < batch; ++d) {
    view.batch[d] = stride(d);
  }
  view.head = stride(batch);
  view.row = stride(batch + 1);
  view.column = stride(batch + 2);
  return view;
}

AttentionMask mask_kind(const AttentionFields& fields, Dtype mask) {
  if (fields.causal_) {
    return AttentionMask::causal;
  }
  if (!fields.has_mask_) {
    return AttentionMask::none;
  }
  return mask == bool_ ? AttentionMask::boolean : AttentionMask::additive;
}

// All but where operands lie.
AttentionParams params_of(
    const AttentionSizes& sizes, const AttentionFields& fields, AttentionMask mask) {
  AttentionParams p{};
  p.batch_ndim = static_cast<int64_t>(sizes.batch.size());
  std::copy(sizes.batch.begin(), sizes.batch.end(), p.batch_shape);
  p.heads = sizes.heads;
  p.key_heads = sizes.key_heads;
  p.queries = sizes.queries;
  p.keys = sizes.keys;
  p.size = sizes.size;
  p.value_size = sizes.value_size;
  p.scale = static_cast<float>(fields.scale_);
  p.has_sinks = fields.has_sinks_ ? 1 : 0;
  p.mask_kind = mask;
  return p;
}

// What attention and its gradient share: a kernel whose first inputs are those of `fields`.
class AttentionStep : public Primitive, public TellsFlops {
 public:
  // The gradient has five products of the size of the two of attention.
  double flops(std::span<const Shape* const> inputs, const Shape&) const override {
    const AttentionSizes sizes(inputs);
    const auto scores =
        static_cast<double>(element_count(sizes.of_heads(sizes.queries, sizes.keys)));
    const auto product = scores * static_cast<double>(sizes.size + sizes.value_size);
    return (is_gradient() ? 5.0 : 2.0) * product;
  }
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      placement.allocate(i);
    }
    std::vector<const Shape*> shapes;
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      shapes.push_back(&placement.input_shape(i));
    }
    const AttentionFields& fields = parameters();
    const AttentionSizes sizes(shapes);
    if (!has_work(placement)) {
      return;
    }
    const Dtype dtype = placement.output_dtype(0);
    const Dtype mask = fields.has_mask_ ? placement.input_dtype(3) : dtype;
    placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) {
      take(params_of(sizes, fields, mask_kind(fields, mask)));
    });
  }

 protected:
  virtual const AttentionFields& parameters() const = 0;
  virtual bool is_gradient() const {
    return false;
  }

  static bool has_work(const Placement& placement) {
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      if (element_count(placement.output_shape(i)) > 0) {
        return true;
      }
    }
    return false;
  }
  // Runs the kernel over the first inputs, but for sinks where `with_sinks` is false, and the rest.
  void encode_kernel(
      Encoder& encoder,
      const StepView& step,
      bool with_sinks,
      void (*add_views)(AttentionParams& p, std::span<const ArrayView> rest)) const {
    if (std::all_of(step.outputs.begin(), step.outputs.end(), [](const ArrayView& output) {
          return output.size() == 0;
        })) {
      return;
    }
    const AttentionFields& fields = parameters();
    std::vector<const Shape*> shapes;
    for (const ArrayView& input : step.inputs) {
      shapes.push_back(input.shape);
    }
    const Dtype dtype = step.outputs[0].dtype;
    const Dtype mask = fields.has_mask_ ? step.inputs[3].dtype : dtype;
    AttentionParams p = params_of(AttentionSizes(shapes), fields, mask_kind(fields, mask));
    p.query = view_of(step.inputs[0]);
    p.key = view_of(step.inputs[1]);
    p.value = view_of(step.inputs[2]);
    if (fields.has_mask_) {
      p.mask = view_of(step.inputs[fields.mask_at()]);
    }
    if (fields.has_sinks_) {
      p.sinks = view_of(step.inputs[fields.sinks_at()]);
    }
    if (add_views) {
      add_views(p, step.inputs.subspan(fields.count()));
    }
    std::array<Operand, kMostOperands> operands;
    size_t count = 0;
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (with_sinks || !fields.has_sinks_ || i != fields.sinks_at()) {
        operands[count++] = step.inputs[i].operand();
      }
    }
    for (const ArrayView& output : step.outputs) {
      operands[count++] = output.operand();
    }
    encoder.run({kernel(dtype, dtype), std::span(operands).first(count), p, step.workspace});
  }

  // The inputs for a batch, each with as many dimensions as the others.
  static std::vector<array> batched_inputs(
      std::span<const array> inputs, const std::vector<bool>& batched, Stream s) {
    std::vector<array> result;
    for (size_t i = 0; i < inputs.size(); ++i) {
      result.push_back(batched[i] ? inputs[i] : expand_dims(inputs[i], {0}, s));
    }
    return result;
  }
};

std::vector<array> record_attention(
    std::span<const array> inputs, const AttentionFields& fields, Stream s);
std::vector<array> record_gradient(
    std::span<const array> inputs, const AttentionFields& fields, Stream s);

// Inputs: those of the fields; the statistics; the sum of result times cotangent of each query, in
// their dtype; the results' cotangent. Outputs: the cotangents of queries, keys and values.
class AttentionGradient final : public Record<AttentionFields, AttentionStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "scaled_dot_product_attention_gradient";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::attention_gradient, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_kernel(encoder, step, false, [](AttentionParams& p, std::span<const ArrayView> rest) {
      p.statistics = view_of(rest[0]);
      p.correction = view_of(rest[1]);
      p.cotangent = view_of(rest[2]);
    });
  }
  // Statistics and sums follow from the other inputs, which they are made of again.
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    std::vector<array> found =
        composed_attention_gradient(inputs.first(count()), inputs.back(), *this, s);
    const AttentionSizes sizes = attention_sizes(inputs);
    return {
        broadcast_to(found[0], sizes.of_heads(sizes.queries, sizes.size), s),
        broadcast_to(found[1], sizes.of_key_heads(sizes.size), s),
        broadcast_to(found[2], sizes.of_key_heads(sizes.value_size), s)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t) const override {
    return record_gradient(batched_inputs(inputs, batched, op.stream), *this, op.stream);
  }

 private:
  bool is_gradient() const override {
    return true;
  }
  const AttentionFields& parameters() const override {
    return *this;
  }
};

// Outputs: the results, and their statistics (metal_kernels/attention.h).
class Attention final : public Record<AttentionFields, AttentionStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "scaled_dot_product_attention";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::attention, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    encode_kernel(encoder, step, true, nullptr);
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    return composed_attention(inputs, *this, s);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t) const override {
    return record_attention(batched_inputs(inputs, batched, op.stream), *this, op.stream);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    if (!g || cotangents[1]) {
      return {};
    }
    const Stream s = op.stream;
    const Dtype dtype = attention_precision(op.outputs[0].dtype());
    const array product = multiply(astype(g, dtype, s), astype(op.outputs[0], dtype, s), s);
    const array correction = sum(product, Axes{-1}, true, s);
    std::vector<array> result(op.inputs.size());
    if (op.wants(0) || op.wants(1) || op.wants(2)) {
      std::vector<array> inputs(op.inputs.begin(), op.inputs.end());
      inputs.insert(inputs.end(), {op.outputs[1], correction, astype(g, op.outputs[0].dtype(), s)});
      const std::vector<array> found = record_gradient(inputs, *this, s);
      for (size_t i = 0; i < found.size(); ++i) {
        result[i] = sum_to(found[i], op.inputs[i].shape(), s);
      }
    }
    if (has_mask_ && op.inputs[mask_at()].dtype() != bool_ && op.wants(mask_at())) {
      result[mask_at()] = composed_mask_gradient(op.inputs, g, *this, s);
    }
    if (has_sinks_ && op.wants(sinks_at())) {
      result[sinks_at()] = sink_cotangent(op, correction);
    }
    return result;
  }

 private:
  const AttentionFields& parameters() const override {
    return *this;
  }
  // A sink's value is zero: it only takes weight from the others.
  array sink_cotangent(const Recorded& op, const array& correction) const {
    const Stream s = op.stream;
    const array& sinks = op.inputs[sinks_at()];
    const std::vector<array> statistics = split(op.outputs[1], 2, -1, s);
    const array score = subtract(astype(sinks, correction.dtype(), s), statistics[0], s);
    const array weight = multiply(exp(score, s), statistics[1], s);
    return sum_to(negative(multiply(weight, correction, s), s), sinks.shape(), s);
  }
};

std::vector<array> record_attention(
    std::span<const array> inputs, const AttentionFields& fields, Stream s) {
  check_attention(inputs, fields);
  const AttentionSizes sizes = attention_sizes(inputs);
  const Dtype dtype = inputs[0].dtype();
  const Shape result = sizes.of_heads(sizes.queries, sizes.value_size);
  checked_size(kName, result);
  return record(
      std::make_shared<Attention>(fields),
      s,
      {{result, dtype}, {sizes.of_heads(sizes.queries, 2), attention_precision(dtype)}},
      inputs);
}

std::vector<array> record_gradient(
    std::span<const array> inputs, const AttentionFields& fields, Stream s) {
  check_attention_gradient(inputs, fields);
  const AttentionSizes sizes = attention_sizes(inputs);
  const Dtype dtype = inputs[0].dtype();
  return record(
      std::make_shared<AttentionGradient>(fields),
      s,
      {{sizes.of_heads(sizes.queries, sizes.size), dtype},
       {sizes.of_key_heads(sizes.size), dtype},
       {sizes.of_key_heads(sizes.value_size), dtype}},
      inputs);
}

// The mask as the fields and inputs have it: four dimensions, of a dtype that kernels read.
void add_mask(
    const fast::Mask& mask,
    Dtype dtype,
    AttentionFields& fields,
    std::vector<array>& inputs,
    Stream s) {
  if (const auto* word = std::get_if<std::string>(&mask)) {
    if (*word != "causal") {
      fail<ValueError>("[", kName, "] mask '", *word, "', expected 'causal' or an array.");
    }
    fields.causal_ = true;
    return;
  }
  const auto* values = std::get_if<array>(&mask);
  if (!values) {
    return;
  }
  if (values->ndim() > 4) {
    fail<ValueError>(
        "[",
        kName,
        "] a mask of shape ",
        to_string(values->shape()),
        ", expected at most 4 dimensions.");
  }
  if (values->dtype() != bool_ && promote(values->dtype(), dtype) != dtype) {
    fail<ValueError>(
        "[",
        kName,
        "] a mask of dtype ",
        name_of(values->dtype()),
        ", expected one that promotes to ",
        name_of(dtype),
        ".");
  }
  Axes added;
  for (int i = 0; i < 4 - values->ndim(); ++i) {
    added.push_back(i);
  }
  const array read = values->dtype() == bool_ ? *values : astype(*values, dtype, s);
  inputs.push_back(added.empty() ? read : expand_dims(read, added, s));
  fields.has_mask_ = true;
}

void add_sinks(
    const std::optional<array>& sinks,
    Dtype dtype,
    AttentionFields& fields,
    std::vector<array>& inputs,
    Stream s) {
  if (!sinks) {
    return;
  }
  if (sinks->shape() != Shape{inputs[0].shape(1)} || promote(sinks->dtype(), dtype) != dtype) {
    fail<ValueError>(
        "[",
        kName,
        "] sinks of shape ",
        to_string(sinks->shape()),
        " and dtype ",
        name_of(sinks->dtype()),
        ", expected (",
        inputs[0].shape(1),
        ",) and one that promotes to ",
        name_of(dtype),
        ".");
  }
  inputs.push_back(expand_dims(astype(*sinks, dtype, s), {0, 2, 3}, s));
  fields.has_sinks_ = true;
}

} // namespace

array fast::scaled_dot_product_attention(
    const array& q,
    const array& k,
    const array& v,
    float scale,
    const Mask& mask,
    const std::optional<array>& sinks,
    StreamOrDevice optional_stream) {
  const Stream s = optional_stream.stream();
  const Dtype dtype = promote(promote(q.dtype(), k.dtype()), v.dtype());
  for (const array* input : {&q, &k, &v}) {
    if (input->ndim() != 4) {
      fail<ValueError>(
          "[",
          kName,
          "] an input of shape ",
          to_string(input->shape()),
          ", expected 4 dimensions: batch, heads, length and size.");
    }
    if (input->shape(0) != q.shape(0)) {
      fail<ValueError>(
          "[",
          kName,
          "] an input of shape ",
          to_string(input->shape()),
          " for queries of shape ",
          to_string(q.shape()),
          ", expected the same batch.");
    }
  }
  if (!is_floating(dtype)) {
    fail<ValueError>("[", kName, "] inputs of dtype ", name_of(dtype), ", expected floats.");
  }
  std::vector<array> inputs{astype(q, dtype, s), astype(k, dtype, s), astype(v, dtype, s)};
  AttentionFields fields{scale, false, false, false};
  add_mask(mask, dtype, fields, inputs, s);
  add_sinks(sinks, dtype, fields, inputs, s);
  if (fields.has_mask_ && inputs[3].shape(0) != 1 && inputs[3].shape(0) != q.shape(0)) {
    fail<ValueError>(
        "[",
        kName,
        "] a mask of shape ",
        to_string(inputs[3].shape()),
        " for queries of shape ",
        to_string(q.shape()),
        ", expected one that broadcasts to their scores.");
  }
  return record_attention(inputs, fields, s)[0];
}

namespace {

void check_fields(const OperationCall& call, const AttentionFields& fields) {
  if (call.inputs.size() < fields.count() || (fields.causal_ && fields.has_mask_)) {
    fail<ValueError>("[", call.name, "] ", call.inputs.size(), " inputs, which do not fit.");
  }
}

const RecordRow<AttentionFields, kAnyInputs> kAttention(
    "scaled_dot_product_attention", [](const OperationCall& call, const AttentionFields& fields) {
      check_fields(call, fields);
      return record_attention(call.inputs, fields, call.stream.stream());
    });
const RecordRow<AttentionFields, kAnyInputs> kAttentionGradient(
    "scaled_dot_product_attention_gradient",
    [](const OperationCall& call, const AttentionFields& fields) {
      check_fields(call, fields);
      return record_gradient(call.inputs, fields, call.stream.stream());
    });

} // namespace

} // namespace narrows
