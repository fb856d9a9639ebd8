#include "narrows/ops/pooling.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "metal_kernels/pooling.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/pad.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"

namespace narrows {
namespace {

constexpr const char* kName = "max_pool";

// One number for each dimension of places.
struct PoolFields {
  Shape size_;
  Shape stride_;
  Shape padding_;

  static constexpr std::tuple fields{
      field("size", &PoolFields::size_),
      field("stride", &PoolFields::stride_),
      field("padding", &PoolFields::padding_)};
};

size_t place_dims(const PoolFields& fields) {
  return fields.size_.size();
}

Shape windows_of(const PoolFields& fields, const Shape& a) {
  Shape windows;
  for (size_t d = 0; d < place_dims(fields); ++d) {
    const int64_t free = a[d + 1] + 2 * fields.padding_[d] - fields.size_[d];
    windows.push_back(free < 0 ? 0 : free / fields.stride_[d] + 1);
  }
  return windows;
}

Shape result_shape(const PoolFields& fields, const Shape& a) {
  Shape shape{a[0]};
  for (const int64_t count : windows_of(fields, a)) {
    shape.push_back(count);
  }
  shape.push_back(a.back());
  return shape;
}

// A view of an array without padding as (batch, windows..., size..., channels).
array as_windows(const PoolFields& fields, const array& a, Stream s) {
  const Shape counts =
      windows_of({fields.size_, fields.stride_, Shape(place_dims(fields), 0)}, a.shape());
  const size_t dims = place_dims(fields);
  bool tiles = fields.size_ == fields.stride_;
  for (size_t d = 0; d < dims; ++d) {
    tiles = tiles && a.shape()[d + 1] % fields.size_[d] == 0;
  }
  if (tiles) {
    // No place is in two windows: splitting each dimension in two gives them.
    Shape split{a.shape(0)};
    Axes axes{0};
    for (size_t d = 0; d < dims; ++d) {
      split.push_back(counts[d]);
      split.push_back(fields.size_[d]);
      axes.push_back(static_cast<int>(2 * d + 1));
    }
    for (size_t d = 0; d < dims; ++d) {
      axes.push_back(static_cast<int>(2 * d + 2));
    }
    split.push_back(a.shape(-1));
    axes.push_back(static_cast<int>(2 * dims + 1));
    return transpose(reshape(a, split, s), axes, s);
  }
  Strides steps(a.shape().size(), 1);
  for (size_t d = a.shape().size() - 1; d-- > 0;) {
    steps[d] = steps[d + 1] * a.shape()[d + 1];
  }
  Shape shape{a.shape(0)};
  Strides strides{steps[0]};
  for (size_t d = 0; d < dims; ++d) {
    shape.push_back(counts[d]);
    strides.push_back(steps[d + 1] * fields.stride_[d]);
  }
  for (size_t d = 0; d < dims; ++d) {
    shape.push_back(fields.size_[d]);
    strides.push_back(steps[d + 1]);
  }
  shape.push_back(a.shape(-1));
  strides.push_back(1);
  return as_strided(a, shape, strides, 0, s);
}

array padded(const PoolFields& fields, const array& a, const array& value, Stream s) {
  if (std::all_of(
          fields.padding_.begin(), fields.padding_.end(), [](int64_t n) { return n == 0; })) {
    return a;
  }
  std::vector<std::pair<int64_t, int64_t>> widths{{0, 0}};
  for (const int64_t n : fields.padding_) {
    widths.emplace_back(n, n);
  }
  widths.emplace_back(0, 0);
  return pad(a, widths, "constant", value, s);
}

array lowest(Dtype dtype) {
  if (is_floating(dtype)) {
    return number(-std::numeric_limits<double>::infinity(), dtype);
  }
  const bool is_signed = is_integer(dtype) && !is_unsigned(dtype);
  const int bits = 8 * static_cast<int>(size_of(dtype));
  return array(is_signed ? std::numeric_limits<int64_t>::min() >> (64 - bits) : int64_t{0}, dtype);
}

Axes size_axes(const PoolFields& fields) {
  Axes axes;
  for (size_t d = 0; d < place_dims(fields); ++d) {
    axes.push_back(-2 - static_cast<int>(d));
  }
  return axes;
}

PoolParams params_of(const PoolFields& fields, const Shape& a) {
  PoolParams p{};
  p.batch = a[0];
  p.channels = a.back();
  const Shape windows = windows_of(fields, a);
  const size_t dims = place_dims(fields);
  for (size_t i = 0; i < NARROWS_MAX_POOL_DIMS; ++i) {
    const size_t missing = NARROWS_MAX_POOL_DIMS - dims;
    const bool there = i >= missing;
    const size_t d = there ? i - missing : 0;
    p.places[i] = there ? a[d + 1] : 1;
    p.windows[i] = there ? windows[d] : 1;
    p.size[i] = there ? fields.size_[d] : 1;
    p.stride[i] = there ? fields.stride_[d] : 1;
    p.padding[i] = there ? fields.padding_[d] : 0;
  }
  return p;
}

// What pooling and its gradient share: a kernel of row-contiguous arrays, the first of which is
// that which is pooled, and where batches are parts of the first dimension.
class PoolStep : public Primitive {
 public:
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    placement.allocate(0);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    std::array<Operand, 4> operands;
    size_t count = 0;
    for (const ArrayView& input : step.inputs) {
      operands[count++] = input.operand();
    }
    operands[count++] = output.operand();
    encoder.run(
        {kernel(output.dtype, output.dtype),
         std::span(operands).first(count),
         params_of(parameters(), *step.inputs[0].shape),
         step.workspace});
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    std::vector<array> entries = as_batches(inputs, batched, size, op.stream);
    for (array& a : entries) {
      a = flatten(a, 0, 1, op.stream);
    }
    const array result = record_again(entries, op.stream);
    return {reshape(result, with_batch(size, op.outputs[0].shape()), op.stream)};
  }

 protected:
  virtual const PoolFields& parameters() const = 0;
  virtual array record_again(std::span<const array> inputs, Stream s) const = 0;
};

array record_max_pool(const PoolFields& fields, const array& a, Stream s);
array record_gradient(const PoolFields& fields, std::span<const array> inputs, Stream s);

// Inputs: what was pooled, the results, and their cotangents. Values that are the largest in a
// window share its cotangent.
class MaxPoolGradient final : public Record<PoolFields, PoolStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "max_pool_gradient";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::pool, static_cast<uint8_t>(PoolOp::maximum_gradient), out, out};
  }
  // Which values are the largest does not change but by jumps.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& a = op.inputs[0];
    const array zero = number(0, a.dtype());
    const array windows = as_windows(*this, padded(*this, a, lowest(a.dtype()), s), s);
    Axes axes = size_axes(*this);
    const array largest = expand_dims(op.inputs[1], axes_in_front(), s);
    const array chosen = logical_or(
        equal(windows, largest, s),
        logical_and(not_equal(windows, windows, s), not_equal(largest, largest, s), s),
        s);
    const array count = sum(astype(chosen, a.dtype(), s), axes, false, s);
    const array seen = as_windows(*this, padded(*this, cotangents[0], zero, s), s);
    const array total = sum(where(chosen, seen, zero, s), axes, false, s);
    return {array(), array(), divide(total, count, s)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    if (!tangents[2]) {
      return {array()};
    }
    return {record_gradient(*this, std::array{op.inputs[0], op.inputs[1], tangents[2]}, op.stream)};
  }

 private:
  const PoolFields& parameters() const override {
    return *this;
  }
  array record_again(std::span<const array> inputs, Stream s) const override {
    return record_gradient(*this, inputs, s);
  }
  // Of the dimensions of sizes, in an array of windows.
  Axes axes_in_front() const {
    const int dims = static_cast<int>(place_dims(*this));
    Axes axes;
    for (int d = 0; d < dims; ++d) {
      axes.push_back(1 + dims + d);
    }
    return axes;
  }
};

class MaxPool final : public Record<PoolFields, PoolStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "max_pool";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::pool, static_cast<uint8_t>(PoolOp::maximum), out, out};
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const array& a = inputs[0];
    const array full = padded(*this, a, lowest(a.dtype()), s);
    return {max(as_windows(*this, full, s), size_axes(*this), false, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    return {record_gradient(
        *this, std::array{op.inputs[0], op.outputs[0], astype(g, float32, op.stream)}, op.stream)};
  }

 private:
  const PoolFields& parameters() const override {
    return *this;
  }
  array record_again(std::span<const array> inputs, Stream s) const override {
    return record_max_pool(*this, inputs[0], s);
  }
};

void check_fields(const PoolFields& fields, const Shape& a) {
  const size_t dims = place_dims(fields);
  const bool fits = dims >= 1 && dims <= NARROWS_MAX_POOL_DIMS && a.size() == dims + 2 &&
                    fields.stride_.size() == dims && fields.padding_.size() == dims;
  if (!fits) {
    fail<ValueError>(
        "[",
        kName,
        "] an array of shape ",
        to_string(a),
        ", windows of size ",
        to_string(fields.size_),
        ", stride ",
        to_string(fields.stride_),
        " and padding ",
        to_string(fields.padding_),
        ", expected (batch, places..., channels) and a number for each of 1 to ",
        NARROWS_MAX_POOL_DIMS,
        " dimensions of places.");
  }
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto check = [](const char* name, const Shape& values, int64_t least) {
    for (const int64_t value : values) {
      if (value < least || value >= kMost) {
        fail<ValueError>(
            "[",
            kName,
            "] ",
            name,
            " ",
            to_string(values),
            ", expected ",
            least,
            " or more, below 2^31.");
      }
    }
  };
  check("size", fields.size_, 1);
  check("stride", fields.stride_, 1);
  check("padding", fields.padding_, 0);
}

array record_max_pool(const PoolFields& fields, const array& a, Stream s) {
  const Shape shape = result_shape(fields, a.shape());
  checked_size(kName, shape);
  if (element_count(shape) == 0) {
    return zeros(shape, a.dtype(), s);
  }
  const auto primitive = std::make_shared<MaxPool>(fields);
  if (a.dtype() != float32) {
    return primitive->decompose(std::array{a}, s)[0]; // there is no kernel
  }
  return record(primitive, s, shape, float32, std::array{a});
}

array record_gradient(const PoolFields& fields, std::span<const array> inputs, Stream s) {
  const array& a = inputs[0];
  return record(std::make_shared<MaxPoolGradient>(fields), s, a.shape(), a.dtype(), inputs);
}

} // namespace

array max_pool(
    const array& a,
    const Shape& size,
    const Shape& stride,
    const Shape& padding,
    StreamOrDevice s) {
  const PoolFields fields{size, stride, padding};
  check_fields(fields, a.shape());
  return record_max_pool(fields, a, s.stream());
}

namespace {

const RecordRow<PoolFields, 1> kMaxPool(
    "max_pool", [](const OperationCall& call, const PoolFields& fields) {
      return max_pool(call.inputs[0], fields.size_, fields.stride_, fields.padding_, call.stream);
    });
const RecordRow<PoolFields, 3> kMaxPoolGradient(
    "max_pool_gradient", [](const OperationCall& call, const PoolFields& fields) {
      const array& a = call.inputs[0];
      check_fields(fields, a.shape());
      const Shape shape = result_shape(fields, a.shape());
      for (const array& input : {call.inputs[1], call.inputs[2]}) {
        if (input.shape() != shape || input.dtype() != float32 || a.dtype() != float32) {
          fail<ValueError>(
              "[",
              call.name,
              "] an input of shape ",
              to_string(input.shape()),
              " and dtype ",
              name_of(input.dtype()),
              " for an array of dtype ",
              name_of(a.dtype()),
              ", expected ",
              to_string(shape),
              " and float32.");
        }
      }
      return record_gradient(fields, call.inputs, call.stream.stream());
    });

} // namespace

} // namespace narrows
