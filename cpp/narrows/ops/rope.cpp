#include "metal_kernels/rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/fast.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/plan/placement.h"
#include "narrows/record/fields.h"

namespace narrows::fast {
namespace {

// The angles of rope(), as (length, dims / 2) or (batch, 1, ..., length, dims / 2).
array rope_angles(
    const array& a,
    int dims,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s) {
  const int64_t length = a.shape(-2);
  array positions = arange(int64_t{0}, length, int64_t{1}, float32, s);
  array start = astype(offset, float32, s);
  if (offset.size() > 1) {
    Shape shape(static_cast<size_t>(a.ndim() - 1), 1);
    shape[0] = offset.size();
    start = reshape(start, shape, s);
  } else {
    start = reshape(start, {}, s);
  }
  positions = multiply(add(start, positions, s), number(scale, float32), s);
  array frequencies;
  if (angles.freqs) {
    frequencies = divide(number(1, float32), astype(*angles.freqs, float32, s), s);
  } else {
    const double step = -std::log(*angles.base) / (dims / 2);
    const array i = arange(int64_t{0}, int64_t{dims} / 2, int64_t{1}, float32, s);
    frequencies = exp(multiply(i, number(step, float32), s), s);
  }
  return multiply(expand_dims(positions, {-1}, s), frequencies, s);
}

void check_rope(const array& a, int dims, const RopeAngles& angles, const array& offset) {
  if (a.ndim() < 3) {
    fail<ValueError>(
        "[rope] an input of shape ",
        to_string(a.shape()),
        ", expected (batch, ..., length, size) of 3 dimensions at least.");
  }
  if (!is_floating(a.dtype())) {
    fail<ValueError>("[rope] an input of dtype ", name_of(a.dtype()), ", expected floats.");
  }
  if (dims < 0 || dims % 2 != 0 || dims > a.shape(-1)) {
    fail<ValueError>(
        "[rope] dims ", dims, ", expected an even number from 0 to ", a.shape(-1), ".");
  }
  if (angles.base.has_value() == angles.freqs.has_value()) {
    fail<ValueError>("[rope] expected one of base and freqs, got both or none.");
  }
  if (angles.freqs && angles.freqs->shape() != Shape{int64_t{dims} / 2}) {
    fail<ValueError>(
        "[rope] freqs of shape ",
        to_string(angles.freqs->shape()),
        ", expected (",
        dims / 2,
        ",).");
  }
  const bool fits = offset.ndim() == 0 ||
                    (offset.ndim() == 1 && (offset.size() == 1 || offset.size() == a.shape(0)));
  if (!is_integer(offset.dtype()) || !fits) {
    fail<ValueError>(
        "[rope] offset of shape ",
        to_string(offset.shape()),
        " and dtype ",
        name_of(offset.dtype()),
        ", expected an integer or ",
        a.shape(0),
        " of them.");
  }
}

// Every `step`-th of the elements [begin, end) of the last dimension.
array columns(const array& a, int64_t begin, int64_t end, int64_t step, StreamOrDevice s) {
  Shape starts(a.shape().size(), 0);
  Shape stops = a.shape();
  Strides steps(a.shape().size(), 1);
  starts.back() = begin;
  stops.back() = end;
  steps.back() = step;
  return slice(a, starts, stops, steps, s);
}

// The operation in terms of others.
array composed_rope(
    const array& a,
    int dims,
    bool traditional,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s) {
  const Dtype dtype = a.dtype() == float64 ? float64 : float32;
  const array theta = astype(rope_angles(a, dims, angles, scale, offset, s), dtype, s);
  const array c = cos(theta, s);
  const array n = sin(theta, s);
  const int64_t half = dims / 2;
  const array first =
      astype(traditional ? columns(a, 0, dims, 2, s) : columns(a, 0, half, 1, s), dtype, s);
  const array second =
      astype(traditional ? columns(a, 1, dims, 2, s) : columns(a, half, dims, 1, s), dtype, s);
  const auto turned = [&](const array& left, const array& right, auto&& combine) {
    return astype(combine(multiply(left, c, s), multiply(right, n, s)), a.dtype(), s);
  };
  std::vector<array> parts{
      turned(first, second, [&](const array& p, const array& q) { return subtract(p, q, s); }),
      turned(second, first, [&](const array& p, const array& q) { return add(p, q, s); })};
  if (traditional) {
    Shape shape = a.shape();
    shape.back() = dims;
    parts = {reshape(stack(parts, -1, s), shape, s)};
  }
  if (dims < a.shape(-1)) {
    parts.push_back(columns(a, dims, a.shape(-1), 1, s));
  }
  return parts.size() == 1 ? parts[0] : concatenate(parts, -1, s);
}

struct RopeFields {
  int dims_;
  bool traditional_;
  std::optional<double> base_; // none: the third input has frequencies
  double scale_;

  static constexpr std::tuple fields{
      field("dims", &RopeFields::dims_),
      field("traditional", &RopeFields::traditional_),
      field("base", &RopeFields::base_),
      field("scale", &RopeFields::scale_)};

  RopeAngles angles(std::span<const array> inputs) const {
    return {base_, base_ ? std::nullopt : std::optional(inputs[2])};
  }
};

// Strides of (batch, heads, length), where `heads` are all dimensions between the others. Nothing
// if these cannot be walked with one stride, or rows are not contiguous.
std::optional<std::array<int64_t, 3>> strides_of(const Shape& shape, const Layout& layout) {
  const Strides& strides = layout.strides;
  const size_t n = shape.size();
  if (strides[n - 1] != 1 && shape[n - 1] != 1) {
    return std::nullopt;
  }
  std::array<int64_t, 3> found{strides[0], 0, strides[n - 2]};
  int64_t heads = 1;
  for (size_t d = n - 2; d-- > 1;) {
    if (shape[d] == 1) {
      continue;
    }
    if (heads == 1) {
      found[1] = strides[d];
    } else if (strides[d] != found[1] * heads) {
      return std::nullopt;
    }
    heads *= shape[d];
  }
  return found;
}

// Inputs: numbers, offsets (int32 or int64) and, without a base, frequencies (float32).
class Rope final : public Record<RopeFields, Primitive> {
 public:
  using Record::Record;

  const char* name() const override {
    return "rope";
  }
  // The numbers have the dtype of the output, frequencies have always the same, and the parameters
  // tell that of offsets.
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::rope, 0, out, out};
  }
  void place(Placement& placement) const override {
    const Shape& shape = placement.input_shape(0);
    if (!strides_of(shape, placement.input_layout(0))) {
      placement.pack(0);
    }
    for (uint32_t i = 1; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
    const Dtype dtype = placement.output_dtype(0);
    placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) {
      take(params_of(shape, element_count(placement.input_shape(1)), placement.input_dtype(1)));
    });
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& out = step.outputs[0];
    RopeParams p = params_of(*out.shape, step.inputs[1].size(), step.inputs[1].dtype);
    const auto in_strides = strides_of(*out.shape, *step.inputs[0].layout);
    const auto out_strides = strides_of(*out.shape, *out.layout);
    std::copy(in_strides->begin(), in_strides->end(), p.in);
    std::copy(out_strides->begin(), out_strides->end(), p.out);
    std::array<Operand, 4> operands;
    size_t count = 0;
    for (const ArrayView& input : step.inputs) {
      operands[count++] = input.operand();
    }
    operands[count++] = out.operand();
    encoder.run(
        {kernel(out.dtype, out.dtype), std::span(operands).first(count), p, step.workspace});
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    return {composed_rope(inputs[0], dims_, traditional_, angles(inputs), scale_, inputs[1], s)};
  }

 private:
  RopeParams params_of(const Shape& shape, int64_t offsets, Dtype dtype) const {
    RopeParams p{};
    p.batch = shape[0];
    p.length = shape[shape.size() - 2];
    p.size = shape[shape.size() - 1];
    p.heads = element_count(shape) / (p.batch * p.length * p.size);
    p.dims = dims_;
    p.offsets = offsets;
    p.offset_bytes = size_of(dtype);
    p.traditional = traditional_;
    p.base = static_cast<float>(base_.value_or(0));
    p.scale = static_cast<float>(scale_);
    return p;
  }
};

// Whether the kernel has this: others are computed as the operations that they are made of.
bool has_kernel(const array& a, const RopeAngles& angles) {
  return a.dtype() != float64 && a.size() > 0 &&
         (!angles.base || static_cast<float>(*angles.base) > 0);
}

} // namespace

array rope(
    const array& a,
    int dims,
    bool traditional,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice optional_stream) {
  check_rope(a, dims, angles, offset);
  const Stream s = optional_stream.stream();
  if (dims == 0) {
    return a;
  }
  if (!has_kernel(a, angles)) {
    return composed_rope(a, dims, traditional, angles, scale, offset, s);
  }
  std::vector<array> inputs{a, offset.dtype() == int32 ? offset : astype(offset, int64, s)};
  if (angles.freqs) {
    inputs.push_back(astype(*angles.freqs, float32, s));
  }
  const RopeFields fields{dims, traditional, angles.base, scale};
  return record(std::make_shared<Rope>(fields), s, {{a.shape(), a.dtype()}}, inputs)[0];
}

namespace {

const RecordRow<RopeFields, kAnyInputs> kRope(
    "rope", [](const OperationCall& call, const RopeFields& fields) {
      const size_t expected = fields.base_ ? 2 : 3;
      if (call.inputs.size() != expected) {
        fail<ValueError>("[rope] ", call.inputs.size(), " inputs, expected ", expected, ".");
      }
      return rope(
          call.inputs[0],
          fields.dims_,
          fields.traditional_,
          fields.angles(call.inputs),
          fields.scale_,
          call.inputs[1],
          call.stream);
    });

} // namespace

} // namespace narrows::fast
