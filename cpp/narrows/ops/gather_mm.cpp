#include "narrows/ops/gather_mm.h"

#include <array>

#include "metal_kernels/gather_matmul.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/pairs.h"
#include "narrows/ops/recorded_as.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

GatherMatmulParams params_of(const Shape& output, const Shape& a, const Shape& b) {
  GatherMatmulParams p{};
  p.m = a[a.size() - 2];
  p.k = a[a.size() - 1];
  p.n = b[b.size() - 1];
  p.products = element_count(output) / (p.m * p.n);
  p.lhs_count = element_count(a) / (p.m * p.k);
  p.rhs_count = element_count(b) / (p.k * p.n);
  return p;
}

// Inputs: both stacks, and the numbers of the matrices of each pair, as uint32 of one shape.
class GatherMM final : public Record<> {
 public:
  const char* name() const override {
    return "gather_mm";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::gather_matmul, 0, out, out};
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    return {matmul(
        take(stacked(inputs[0], s), inputs[2], 0, s),
        take(stacked(inputs[1], s), inputs[3], 0, s),
        s)};
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
      const GatherMatmulParams params = params_of(output, a, placement.input_shape(1));
      placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) { take(params); });
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    const ArrayView& a = step.inputs[0];
    const ArrayView& b = step.inputs[1];
    if (output.size() == 0) {
      return;
    }
    if (a.size() == 0) {
      encode_fill(encoder, make_scalar(int64_t{0}, output.dtype), output);
      return;
    }
    const std::array operands = {
        a.operand(),
        b.operand(),
        step.inputs[2].operand(),
        step.inputs[3].operand(),
        output.operand()};
    const GatherMatmulParams params = params_of(*output.shape, *a.shape, *b.shape);
    encoder.run({kernel(output.dtype, output.dtype), operands, params, step.workspace});
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& g = cotangents[0];
    const array& lhs = op.inputs[2];
    const array& rhs = op.inputs[3];
    std::vector<array> result(4);
    if (op.wants(0)) {
      const array parts = gather_mm(g, matrix_transpose(op.inputs[1], s), std::nullopt, rhs, s);
      result[0] = added_up(parts, lhs, op.inputs[0], s);
    }
    if (op.wants(1)) {
      result[1] = pull_back_right(op, g);
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    array sum;
    if (tangents[0]) {
      sum = gather_mm(tangents[0], op.inputs[1], op.inputs[2], op.inputs[3], s);
    }
    if (tangents[1]) {
      const array part = gather_mm(op.inputs[0], tangents[1], op.inputs[2], op.inputs[3], s);
      sum = sum ? add(sum, part, s) : part;
    }
    return {sum};
  }

 private:
  // Where the right matrices are transposes, their cotangent lies as what was transposed.
  static array pull_back_right(const Recorded& op, const array& g) {
    const Stream s = op.stream;
    const array& lhs = op.inputs[2];
    const array& rhs = op.inputs[3];
    if (is_matrix_transpose(op.inputs[1])) {
      const array parts = gather_mm(matrix_transpose(g, s), op.inputs[0], std::nullopt, lhs, s);
      const array like = matrix_transpose(op.inputs[1], s);
      return matrix_transpose(added_up(parts, rhs, like, s), s);
    }
    const array parts = gather_mm(matrix_transpose(op.inputs[0], s), g, lhs, std::nullopt, s);
    return added_up(parts, rhs, op.inputs[1], s);
  }
};

} // namespace

array gather_mm(
    const array& a,
    const array& b,
    const std::optional<array>& lhs_indices,
    const std::optional<array>& rhs_indices,
    StreamOrDevice s) {
  if (!lhs_indices && !rhs_indices) {
    return matmul(a, b, s);
  }
  if (a.ndim() == 1) {
    return squeeze(gather_mm(expand_dims(a, {0}, s), b, lhs_indices, rhs_indices, s), {-2}, s);
  }
  if (b.ndim() == 1) {
    return squeeze(gather_mm(a, expand_dims(b, {1}, s), lhs_indices, rhs_indices, s), {-1}, s);
  }
  const Dtype dtype = promote(a.dtype(), b.dtype());
  if (!is_floating(dtype)) {
    fail<ValueError>(
        "[gather_mm] dtypes ",
        name_of(a.dtype()),
        " and ",
        name_of(b.dtype()),
        ", expected real floating point numbers.");
  }
  if (a.ndim() == 0 || b.ndim() == 0 || a.shape(-1) != b.shape(-2)) {
    fail<ValueError>(
        "[gather_mm] arrays of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected (..., m, k) and (..., k, n).");
  }
  const Pairs pairs("gather_mm", a, b, lhs_indices, rhs_indices, s);
  Shape shape = of_matrices(pairs.shape(), a.shape(-2), b.shape(-1));
  checked_size("gather_mm", shape);
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<GatherMM>();
  return record(
      primitive,
      s.stream(),
      std::move(shape),
      dtype,
      std::array{astype(a, dtype, s), astype(b, dtype, s), pairs.lhs, pairs.rhs});
}

namespace {

const RecordRow<NoFields, 4> kGatherMM("gather_mm", [](const OperationCall& call, const NoFields&) {
  return gather_mm(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[3], call.stream);
});

} // namespace

} // namespace narrows
