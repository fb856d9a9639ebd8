#include "narrows/ops/masked_mm.h"

#include <array>

#include "metal_kernels/gather_matmul.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

// A mask of blocks as a mask of the elements of matrices (..., rows, columns).
array mask_of_elements(
    const char* name, const array& mask, const Shape& shape, int block, StreamOrDevice s) {
  const int64_t rows = shape[shape.size() - 2];
  const int64_t columns = shape[shape.size() - 1];
  Shape blocks(shape.begin(), shape.end() - 2);
  blocks.push_back(divided_up(rows, block));
  blocks.push_back(divided_up(columns, block));
  if (mask.ndim() < 2 || mask.shape(-2) != blocks[blocks.size() - 2] ||
      mask.shape(-1) != blocks.back() ||
      broadcast_shapes("block_masked_mm", mask.shape(), blocks) != blocks) {
    fail<ValueError>(
        "[block_masked_mm] ",
        name,
        " of shape ",
        to_string(mask.shape()),
        ", expected ",
        to_string(blocks),
        " for ",
        to_string(shape),
        " in blocks of ",
        block,
        ".");
  }
  Shape stack(mask.shape().begin(), mask.shape().end() - 2);
  Shape stretched = stack;
  for (const int64_t size : {mask.shape(-2), int64_t{block}, mask.shape(-1), int64_t{block}}) {
    stretched.push_back(size);
  }
  Shape whole = stack;
  whole.push_back(mask.shape(-2) * block);
  whole.push_back(mask.shape(-1) * block);
  Shape stop = stack;
  stop.push_back(rows);
  stop.push_back(columns);
  const array elements =
      reshape(broadcast_to(expand_dims(mask, {-1, -3}, s), stretched, s), whole, s);
  return slice(elements, Shape(stop.size(), 0), stop, Strides(stop.size(), 1), s);
}

array masked(
    const char* name,
    const array& a,
    const std::optional<array>& mask,
    int block,
    StreamOrDevice s) {
  if (!mask) {
    return a;
  }
  const array elements = mask_of_elements(name, *mask, a.shape(), block, s);
  if (mask->dtype() == bool_) {
    return where(elements, a, number(0, a.dtype()), s);
  }
  return multiply(a, astype(elements, a.dtype(), s), s);
}

// Vectors as matrices, as matmul() takes them.
array as_matrix(const char* op, const array& a, bool left, StreamOrDevice s) {
  if (a.ndim() == 0) {
    fail<ValueError>("[", op, "] an array of shape (), expected one dimension at least.");
  }
  return a.ndim() == 1 ? expand_dims(a, {left ? 0 : 1}, s) : a;
}

Dtype floating_dtype(const char* op, const array& a, const array& b) {
  const Dtype dtype = promote(a.dtype(), b.dtype());
  if (!is_floating(dtype)) {
    fail<ValueError>(
        "[",
        op,
        "] dtypes ",
        name_of(a.dtype()),
        " and ",
        name_of(b.dtype()),
        ", expected real floating point numbers.");
  }
  return dtype;
}

GatherMatmulParams params_of(const Shape& output, const Shape& a) {
  const int64_t m = a[0];
  const int64_t n = output.back();
  return {m, n, a[1], element_count(output) / (m * n), 1, 1};
}

// Inputs: both matrices, and where segments begin and end: int64 of shape (..., 1).
class SegmentedMM final : public Record<> {
 public:
  const char* name() const override {
    return "segmented_mm";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    KernelId id{KernelFamily::gather_matmul, 0, out, out};
    id.mode = NARROWS_CHOSEN_RANGES;
    return id;
  }
  // Columns outside of a segment are zeros, whatever is there: (..., 1, k), and the rows of b.
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const array& a = inputs[0];
    const array at = arange(int64_t{0}, a.shape(1), int64_t{1}, int64, s);
    const array inside = logical_and(
        greater_equal(at, expand_dims(inputs[2], {-2}, s), s),
        less(at, expand_dims(inputs[3], {-2}, s), s),
        s);
    return {matmul(where(inside, a, number(0, a.dtype()), s), inputs[1], s)};
  }
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    placement.allocate(0);
    const Shape& output = placement.output_shape(0);
    const Shape& a = placement.input_shape(0);
    if (element_count(output) > 0 && element_count(a) > 0) {
      const Dtype dtype = placement.output_dtype(0);
      const GatherMatmulParams params = params_of(output, a);
      placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) { take(params); });
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    const ArrayView& a = step.inputs[0];
    if (output.size() == 0) {
      return;
    }
    if (a.size() == 0) {
      encode_fill(encoder, make_scalar(int64_t{0}, output.dtype), output);
      return;
    }
    const std::array operands = {
        a.operand(),
        step.inputs[1].operand(),
        step.inputs[2].operand(),
        step.inputs[3].operand(),
        output.operand()};
    const GatherMatmulParams params = params_of(*output.shape, *a.shape);
    encoder.run({kernel(output.dtype, output.dtype), operands, params, step.workspace});
  }
};

} // namespace

array block_masked_mm(
    const array& a,
    const array& b,
    int block_size,
    const std::optional<array>& mask_out,
    const std::optional<array>& mask_lhs,
    const std::optional<array>& mask_rhs,
    StreamOrDevice s) {
  if (block_size != 32 && block_size != 64) {
    fail<ValueError>("[block_masked_mm] block_size ", block_size, ", expected 32 or 64.");
  }
  const Dtype dtype = floating_dtype("block_masked_mm", a, b);
  const array left = astype(as_matrix("block_masked_mm", a, true, s), dtype, s);
  const array right = astype(as_matrix("block_masked_mm", b, false, s), dtype, s);
  const array product = matmul(
      masked("mask_lhs", left, mask_lhs, block_size, s),
      masked("mask_rhs", right, mask_rhs, block_size, s),
      s);
  array result = masked("mask_out", product, mask_out, block_size, s);
  if (b.ndim() == 1) {
    result = squeeze(result, {-1}, s);
  }
  return a.ndim() == 1 ? squeeze(result, {b.ndim() == 1 ? -1 : -2}, s) : result;
}

array segmented_mm(const array& a, const array& b, const array& segments, StreamOrDevice s) {
  const Dtype dtype = floating_dtype("segmented_mm", a, b);
  if (a.ndim() != 2 || b.ndim() != 2 || a.shape(1) != b.shape(0)) {
    fail<ValueError>(
        "[segmented_mm] arrays of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected (m, k) and (k, n).");
  }
  if (!is_integer(segments.dtype()) || segments.ndim() == 0 || segments.shape(-1) != 2) {
    fail<ValueError>(
        "[segmented_mm] segments of shape ",
        to_string(segments.shape()),
        " and dtype ",
        name_of(segments.dtype()),
        ", expected integers of shape (..., 2).");
  }
  Shape shape(segments.shape().begin(), segments.shape().end() - 1);
  shape.push_back(a.shape(0));
  shape.push_back(b.shape(1));
  checked_size("segmented_mm", shape);
  const array bounds = astype(segments, int64, s);
  const auto bound = [&](int64_t which) {
    Shape start(bounds.shape().size(), 0);
    Shape stop = bounds.shape();
    start.back() = which;
    stop.back() = which + 1;
    return slice(bounds, start, stop, Strides(stop.size(), 1), s);
  };
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<SegmentedMM>();
  return record(
      primitive,
      s.stream(),
      std::move(shape),
      dtype,
      std::array{astype(a, dtype, s), astype(b, dtype, s), bound(0), bound(1)});
}

namespace {

const RecordRow<NoFields, 4> kSegmentedMM(
    "segmented_mm", [](const OperationCall& call, const NoFields&) {
      return segmented_mm(
          call.inputs[0],
          call.inputs[1],
          concatenate({call.inputs[2], call.inputs[3]}, -1, call.stream),
          call.stream);
    });

} // namespace

} // namespace narrows
