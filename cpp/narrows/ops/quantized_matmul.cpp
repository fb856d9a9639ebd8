#include "narrows/ops/quantized_matmul.h"

#include <algorithm>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/pairs.h"
#include "narrows/ops/quantization.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

struct ProductFields : Quantization {
  bool transpose = true;

  ProductFields() = default;
  ProductFields(const Quantization& how, bool transpose) : Quantization(how), transpose(transpose) {
  }
  static constexpr std::tuple fields = std::tuple_cat(
      Quantization::fields, std::tuple{field("transpose", &ProductFields::transpose)});
};

// The inputs of both primitives: x, codes, scales, biases where the mode has them, and where the
// product is of pairs, the indices of both factors.
class QuantizedProduct : public Primitive {
 public:
  virtual const ProductFields& how() const = 0;
  virtual bool has_indices() const = 0;

  KernelId kernel(Dtype, Dtype out) const override {
    return how().kernel(KernelFamily::quantized_matmul, out, out);
  }
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    placement.allocate(0);
    const Shape& output = placement.output_shape(0);
    const Shape& x = placement.input_shape(0);
    if (element_count(output) > 0 && element_count(x) > 0) {
      const Dtype dtype = placement.output_dtype(0);
      const QuantizedMatmulParams params = params_of(output, x, placement.input_shape(1));
      placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) { take(params); });
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    if (step.inputs[0].size() == 0) {
      encode_fill(encoder, make_scalar(int64_t{0}, output.dtype), output);
      return;
    }
    std::vector<Operand> operands;
    for (const ArrayView& input : step.inputs) {
      operands.push_back(input.operand());
    }
    operands.push_back(output.operand());
    const auto params = params_of(*output.shape, *step.inputs[0].shape, *step.inputs[1].shape);
    encoder.run({kernel(output.dtype, output.dtype), operands, params, step.workspace});
  }

  // The parts of the inputs.
  size_t quantized_inputs() const {
    return how().is_affine() ? 3 : 2;
  }
  std::optional<array> biases(std::span<const array> inputs) const {
    return how().is_affine() ? std::optional(inputs[3]) : std::nullopt;
  }
  array dequantized(std::span<const array> inputs, Stream s) const {
    return dequantize(
        inputs[1], inputs[2], biases(inputs), how().args(), std::nullopt, inputs[0].dtype(), s);
  }
  // The cotangents of scales and of biases, given that of the numbers.
  std::pair<array, array> pull_back_scales(
      const Recorded& op, const array& numbers, const array& w, const array& scales) const {
    const Stream s = op.stream;
    Shape shape = numbers.shape();
    shape.back() /= how().group_size;
    shape.push_back(how().group_size);
    const array g = reshape(numbers, shape, s);
    const array codes = reshape(astype(unpacked_codes(w, how(), s), g.dtype(), s), shape, s);
    return {
        astype(sum(multiply(g, codes, s), Axes{-1}, false, s), scales.dtype(), s),
        astype(sum(g, Axes{-1}, false, s), scales.dtype(), s)};
  }

 private:
  QuantizedMatmulParams params_of(const Shape& output, const Shape& x, const Shape& w) const {
    const size_t ndim = x.size();
    QuantizedMatmulParams p{};
    p.k = x[ndim - 1];
    p.n = output[output.size() - 1];
    p.m = output[output.size() - 2];
    p.products = 1;
    p.lhs_count = p.rhs_count = 1;
    if (has_indices()) {
      p.products = element_count(output) / (p.m * p.n);
      p.lhs_count = element_count(x) / (p.m * p.k);
      p.rhs_count = element_count(w) / (w[w.size() - 2] * w[w.size() - 1]);
    } else {
      p.m = element_count(output) / p.n;
    }
    p.transpose = how().transpose;
    p.indexed = has_indices();
    p.bits = how().bits;
    p.group = how().group_size;
    p.mode = how().kernel_mode();
    return p;
  }
};

// One quantized matrix, whose stack of rows may have any shape: x is (..., m, k).
class QuantizedMatmul final : public Record<ProductFields, QuantizedProduct> {
 public:
  using Record::Record;

  const char* name() const override {
    return "quantized_matmul";
  }
  const ProductFields& how() const override {
    return *this;
  }
  bool has_indices() const override {
    return false;
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const array w = dequantized(inputs, s);
    return {matmul(inputs[0], transpose ? matrix_transpose(w, s) : w, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    std::vector<array> result(op.inputs.size());
    if (op.wants(0)) {
      result[0] = again(op, g, !transpose);
    }
    if (is_affine() && (op.wants(2) || op.wants(3))) {
      const array x = flatten(op.inputs[0], 0, -2, op.stream);
      const array rows = flatten(g, 0, -2, op.stream);
      const array& left = transpose ? rows : x;
      const array& right = transpose ? x : rows;
      const array numbers = matmul(matrix_transpose(left, op.stream), right, op.stream);
      std::tie(result[2], result[3]) = pull_back_scales(op, numbers, op.inputs[1], op.inputs[2]);
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    array result;
    if (tangents[0]) {
      result = again(op, tangents[0], transpose);
    }
    if (is_affine() && (tangents[2] || tangents[3])) {
      const std::vector<array> t =
          filled(tangents.subspan(2, 2), op.inputs.subspan(2, 2), op.stream);
      const array part =
          quantized_matmul(op.inputs[0], op.inputs[1], t[0], t[1], transpose, args(), op.stream);
      result = result ? add(result, part, op.stream) : part;
    }
    return {result};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    // A batch of matrices meets the stacks of rows as one more dimension before them.
    const bool many = std::find(batched.begin() + 1, batched.end(), true) != batched.end();
    std::vector<array> all(inputs.begin(), inputs.end());
    for (size_t i = 1; many && i < all.size(); ++i) {
      all[i] = aligned(
          as_batch(all[i], batched[i], size, op.stream), true, op.inputs[0].ndim(), op.stream);
    }
    return {quantized_matmul(all[0], all[1], all[2], biases(all), transpose, args(), op.stream)};
  }

 private:
  array again(const Recorded& op, const array& x, bool transposed) const {
    return quantized_matmul(
        x, op.inputs[1], op.inputs[2], biases(op.inputs), transposed, args(), op.stream);
  }
};

// Pairs of matrices, by indices of uint32 of one shape.
class GatherQMM final : public Record<ProductFields, QuantizedProduct> {
 public:
  using Record::Record;

  const char* name() const override {
    return "gather_qmm";
  }
  const ProductFields& how() const override {
    return *this;
  }
  bool has_indices() const override {
    return true;
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const auto indices = inputs.last(2);
    std::vector<array> taken = {take(stacked(inputs[0], s), indices[0], 0, s)};
    for (size_t i = 1; i <= quantized_inputs(); ++i) {
      taken.push_back(take(stacked(inputs[i], s), indices[1], 0, s));
    }
    const array w = dequantized(taken, s);
    return {matmul(taken[0], transpose ? matrix_transpose(w, s) : w, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& g = cotangents[0];
    const array& lhs = op.inputs[op.inputs.size() - 2];
    const array& rhs = op.inputs[op.inputs.size() - 1];
    std::vector<array> result(op.inputs.size());
    if (op.wants(0)) {
      const array parts = gather_qmm(
          g,
          op.inputs[1],
          op.inputs[2],
          biases(op.inputs),
          std::nullopt,
          rhs,
          !transpose,
          args(),
          std::nullopt,
          s);
      result[0] = added_up(parts, lhs, op.inputs[0], s);
    }
    if (is_affine() && (op.wants(2) || op.wants(3))) {
      const array x = take(stacked(op.inputs[0], s), lhs, 0, s);
      const array& left = transpose ? g : x;
      const array& right = transpose ? x : g;
      const array numbers = matmul(matrix_transpose(left, s), right, s);
      const array w = take(stacked(op.inputs[1], s), rhs, 0, s);
      const auto [scales, biases] = pull_back_scales(op, numbers, w, op.inputs[2]);
      result[2] = added_up(scales, rhs, op.inputs[2], s);
      result[3] = added_up(biases, rhs, op.inputs[3], s);
    }
    return result;
  }
};

// The common dtype of numbers and scales, which kernels take.
Dtype product_dtype(
    const char* op, const array& x, const QuantizedArrays& arrays, const Quantization& how) {
  const std::optional<Dtype> scales = arrays.dtype(how);
  const Dtype dtype = scales ? promote(x.dtype(), *scales) : x.dtype();
  require_quantizable(op, dtype);
  return dtype;
}

void check_inner(
    const char* op, const array& x, const Shape& numbers, bool transpose, const Quantization& how) {
  const size_t ndim = numbers.size();
  const int64_t inner = numbers[transpose ? ndim - 1 : ndim - 2];
  if (x.shape(-1) != inner) {
    fail<ValueError>(
        "[",
        op,
        "] x of shape ",
        to_string(x.shape()),
        " and a quantized matrix of shape ",
        to_string(numbers),
        " (bits ",
        how.bits,
        ") with transpose ",
        transpose ? "true" : "false",
        ", expected ",
        inner,
        " as the last dimension of x.");
  }
}

array gather_product(
    const char* op,
    const array& x,
    const QuantizedArrays& arrays,
    const std::optional<array>& lhs_indices,
    const std::optional<array>& rhs_indices,
    bool transpose,
    const Quantization& how,
    StreamOrDevice s) {
  const Shape numbers = arrays.shape(how);
  check_inner(op, x, numbers, transpose, how);
  const Dtype dtype = product_dtype(op, x, arrays, how);
  const Pairs pairs(op, x, arrays.w, lhs_indices, rhs_indices, s);
  std::vector<array> inputs = arrays.inputs(how, dtype, s);
  inputs.insert(inputs.begin(), astype(x, dtype, s));
  inputs.push_back(pairs.lhs);
  inputs.push_back(pairs.rhs);
  const int64_t n = numbers[numbers.size() - (transpose ? 2 : 1)];
  Shape shape = of_matrices(pairs.shape(), x.shape(-2), n);
  checked_size(op, shape);
  return record(
      std::make_shared<GatherQMM>(how, transpose), s.stream(), std::move(shape), dtype, inputs);
}

} // namespace

array quantized_matmul(
    const array& x,
    const array& w,
    const array& scales,
    const std::optional<array>& biases,
    bool transpose,
    const QuantizationArgs& args,
    StreamOrDevice s) {
  const Quantization how("quantized_matmul", args);
  if (x.ndim() == 0) {
    fail<ValueError>("[quantized_matmul] x of shape (), expected one dimension at least.");
  }
  if (x.ndim() == 1) {
    const array row = expand_dims(x, {0}, s);
    return squeeze(quantized_matmul(row, w, scales, biases, transpose, args, s), {-2}, s);
  }
  const QuantizedArrays arrays("quantized_matmul", w, scales, biases, how);
  const Shape numbers = arrays.shape(how);
  check_inner("quantized_matmul", x, numbers, transpose, how);
  const Shape w_batch = stack_shape(w);
  const Shape batch = broadcast_shapes("quantized_matmul", stack_shape(x), w_batch);
  const int64_t n = numbers[transpose ? numbers.size() - 2 : numbers.size() - 1];
  if (element_count(w_batch) != 1 || batch != stack_shape(x)) {
    // The matrices of both stacks in pairs, by their numbers, which broadcast.
    return gather_product(
        "quantized_matmul", x, arrays, std::nullopt, std::nullopt, transpose, how, s);
  }
  const Dtype dtype = product_dtype("quantized_matmul", x, arrays, how);
  std::vector<array> inputs = arrays.inputs(how, dtype, s);
  for (array& input : inputs) {
    input = reshape(input, {input.shape(-2), input.shape(-1)}, s);
  }
  inputs.insert(inputs.begin(), astype(x, dtype, s));
  Shape shape = of_matrices(batch, x.shape(-2), n);
  checked_size("quantized_matmul", shape);
  return record(
      std::make_shared<QuantizedMatmul>(how, transpose),
      s.stream(),
      std::move(shape),
      dtype,
      inputs);
}

array gather_qmm(
    const array& x,
    const array& w,
    const array& scales,
    const std::optional<array>& biases,
    const std::optional<array>& lhs_indices,
    const std::optional<array>& rhs_indices,
    bool transpose,
    const QuantizationArgs& args,
    const std::optional<array>& global_scale,
    StreamOrDevice s) {
  const Quantization how("gather_qmm", args);
  check_global_scale("gather_qmm", global_scale, how);
  if (x.ndim() < 2) {
    fail<ValueError>(
        "[gather_qmm] x of shape ", to_string(x.shape()), ", expected two dimensions at least.");
  }
  const QuantizedArrays arrays("gather_qmm", w, scales, biases, how);
  const array product =
      lhs_indices || rhs_indices
          ? gather_product("gather_qmm", x, arrays, lhs_indices, rhs_indices, transpose, how, s)
          : quantized_matmul(x, w, scales, biases, transpose, args, s);
  return with_global_scale(product, global_scale, s);
}

namespace {

// The inputs of a recorded product.
struct RecordedInputs {
  const OperationCall& call;
  size_t indices;

  RecordedInputs(const OperationCall& call, const ProductFields& how, size_t indices)
      : call(call), indices(indices) {
    const size_t expected = (how.is_affine() ? 4 : 3) + indices;
    if (call.inputs.size() != expected) {
      fail<ValueError>(
          "[", call.name, "] ", call.inputs.size(), " inputs, expected ", expected, ".");
    }
  }
  std::optional<array> biases() const {
    return call.inputs.size() - indices == 4 ? std::optional(call.inputs[3]) : std::nullopt;
  }
};

const RecordRow<ProductFields, kAnyInputs> kQuantizedMatmul(
    "quantized_matmul", [](const OperationCall& call, const ProductFields& how) {
      const RecordedInputs inputs(call, how, 0);
      return quantized_matmul(
          call.inputs[0],
          call.inputs[1],
          call.inputs[2],
          inputs.biases(),
          how.transpose,
          how.args(),
          call.stream);
    });
const RecordRow<ProductFields, kAnyInputs> kGatherQMM(
    "gather_qmm", [](const OperationCall& call, const ProductFields& how) {
      const RecordedInputs inputs(call, how, 2);
      return gather_qmm(
          call.inputs[0],
          call.inputs[1],
          call.inputs[2],
          inputs.biases(),
          call.inputs[call.inputs.size() - 2],
          call.inputs.back(),
          how.transpose,
          how.args(),
          std::nullopt,
          call.stream);
    });

} // namespace

} // namespace narrows
