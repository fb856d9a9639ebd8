#include "narrows/ops/quantized.h"

#include <array>
#include <cmath>
#include <limits>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/quantization.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/plan/placement.h"

namespace narrows {
namespace {

// With groups as the last dimension.
array in_groups(const array& a, int64_t group, StreamOrDevice s) {
  Shape shape = a.shape();
  shape.back() /= group;
  shape.push_back(group);
  return reshape(a, shape, s);
}

QuantizeParams params_of(const Quantization& how, int64_t numbers) {
  return {numbers / how.group_size, how.bits, how.group_size, how.kernel_mode()};
}

// The operands of a call: all inputs, then all outputs.
std::vector<Operand> operands_of(const StepView& step) {
  std::vector<Operand> operands;
  for (const ArrayView& input : step.inputs) {
    operands.push_back(input.operand());
  }
  for (const ArrayView& output : step.outputs) {
    operands.push_back(output.operand());
  }
  return operands;
}

// Codes of uint32 in words.
array packed_codes(const array& codes, const Quantization& how, StreamOrDevice s) {
  const array bits = bitwise_and(
      right_shift(
          expand_dims(codes, {-1}, s), arange(int64_t{0}, how.bits, int64_t{1}, uint32, s), s),
      number(1, uint32),
      s);
  Shape shape = codes.shape();
  shape.back() = shape.back() * how.bits / 32;
  shape.push_back(32);
  const array placed = left_shift(
      reshape(bits, shape, s), arange(int64_t{0}, int64_t{32}, int64_t{1}, uint32, s), s);
  return sum(placed, Axes{-1}, false, s);
}

// The affine mode by operations, in float32.
std::vector<array> affine_quantized(const array& w, const Quantization& how, StreamOrDevice s) {
  const auto of = [&](double value) { return number(value, float32); };
  const double most = (1 << how.bits) - 1;
  const array x = in_groups(astype(w, float32, s), how.group_size, s);
  const array low = min(x, Axes{-1}, true, s);
  const array high = max(x, Axes{-1}, true, s);
  const array step = maximum(divide(subtract(high, low, s), of(most), s), of(1e-7), s);
  array scale = step;
  array bias = low;
  if (how.bits > 1) {
    const array from_low = greater(abs(low, s), abs(high, s), s);
    const array edge = where(from_low, low, high, s);
    const array signed_step = where(from_low, step, negative(step, s), s);
    const array steps = rint(divide(edge, signed_step, s), s);
    const array has_zero = not_equal(steps, of(0), s);
    scale = where(has_zero, divide(edge, where(has_zero, steps, of(1), s), s), signed_step, s);
    bias = where(has_zero, edge, of(0), s);
  }
  const array nearest = rint(divide(subtract(x, bias, s), scale, s), s);
  const array codes = minimum(maximum(nearest, of(0), s), of(most), s);
  return {
      packed_codes(reshape(astype(codes, uint32, s), w.shape(), s), how, s),
      astype(squeeze(scale, {-1}, s), w.dtype(), s),
      astype(squeeze(bias, {-1}, s), w.dtype(), s)};
}

class Quantize final : public Record<Quantization> {
 public:
  using Record::Record;

  const char* name() const override {
    return "quantize";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return Quantization::kernel(KernelFamily::quantize, in, out);
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream stream) const override {
    return is_affine() ? affine_quantized(inputs[0], *this, stream) : std::vector<array>();
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      placement.allocate(i);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    if (input.size() > 0) {
      const QuantizeParams params = params_of(*this, input.size());
      encoder.run({kernel(input.dtype, uint32), operands_of(step), params});
    }
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    std::vector<OutputSpec> outputs = specs_of(op.outputs);
    for (OutputSpec& output : outputs) {
      output.shape = with_batch(size, output.shape);
    }
    return record(op.primitive, op.stream, std::move(outputs), inputs);
  }
};

// Inputs: codes, scales and, where the mode is affine, biases, in the dtype of the result.
class Dequantize final : public Record<Quantization> {
 public:
  using Record::Record;

  const char* name() const override {
    return "dequantize";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return Quantization::kernel(KernelFamily::dequantize, out, out);
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    if (!is_affine()) {
      return {};
    }
    const array codes = unpacked_codes(inputs[0], *this, s);
    const auto of_group = [&](const array& a) {
      return expand_dims(astype(a, float32, s), {-1}, s);
    };
    const array x = in_groups(astype(codes, float32, s), group_size, s);
    const array sum = add(multiply(x, of_group(inputs[1]), s), of_group(inputs[2]), s);
    return {astype(reshape(sum, codes.shape(), s), inputs[1].dtype(), s)};
  }
  void place(Placement& placement) const override {
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    placement.allocate(0);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.size() > 0) {
      const QuantizeParams params = params_of(*this, output.size());
      encoder.run({kernel(output.dtype, output.dtype), operands_of(step), params});
    }
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array& output = op.outputs[0];
    return {record(
        op.primitive,
        op.stream,
        with_batch(size, output.shape()),
        output.dtype(),
        as_batches(inputs, batched, size, op.stream))};
  }
};

} // namespace

std::vector<array> quantize(
    const array& w,
    const QuantizationArgs& args,
    const std::optional<array>& global_scale,
    StreamOrDevice s) {
  const Quantization how("quantize", args);
  require_quantizable("quantize", w.dtype());
  check_global_scale("quantize", global_scale, how);
  if (w.ndim() < 2 || w.shape(-1) % how.group_size != 0) {
    fail<ValueError>(
        "[quantize] w of shape ",
        to_string(w.shape()),
        ", expected two dimensions at least and a multiple of group_size ",
        how.group_size,
        " as the last.");
  }
  Shape codes = w.shape();
  codes.back() = codes.back() / 32 * how.bits + codes.back() % 32 * how.bits / 32;
  Shape groups = w.shape();
  groups.back() /= how.group_size;
  array numbers = w;
  if (global_scale) {
    numbers = divide(astype(w, float32, s), global_factor(*global_scale, s), s);
  }
  const Dtype scale_dtype = how.is_affine() ? w.dtype() : uint8;
  std::vector<OutputSpec> outputs = {{codes, uint32}, {groups, scale_dtype}};
  if (how.is_affine()) {
    outputs.push_back({groups, scale_dtype});
  }
  return record(
      std::make_shared<Quantize>(how), s.stream(), std::move(outputs), std::array{numbers});
}

array dequantize(
    const array& w,
    const array& scales,
    const std::optional<array>& biases,
    const QuantizationArgs& args,
    const std::optional<array>& global_scale,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  const Quantization how("dequantize", args);
  check_global_scale("dequantize", global_scale, how);
  const QuantizedArrays arrays("dequantize", w, scales, biases, how);
  const Dtype own = arrays.dtype(how).value_or(bfloat16);
  const Dtype result = dtype.value_or(own);
  require_quantizable("dequantize", result);
  // In float32 where something follows that rounds.
  const Dtype computed = global_scale || own == float32 ? float32 : result;
  require_quantizable("dequantize", own);
  const array numbers = record(
      std::make_shared<Dequantize>(how),
      s.stream(),
      arrays.shape(how),
      computed,
      arrays.inputs(how, computed, s));
  return astype(with_global_scale(numbers, global_scale, s), result, s);
}

array to_fp8(const array& x, StreamOrDevice s) {
  if (!is_floating(x.dtype())) {
    fail<ValueError>("[to_fp8] dtype ", name_of(x.dtype()), ", expected floats.");
  }
  const array wide = astype(x, float32, s);
  const array bits = view(wide, uint32, s);
  const array sign = bitwise_and(right_shift(bits, number(24, uint32), s), number(0x80, uint32), s);
  const array largest = number(448, float32);
  // NaN is not below the largest.
  const array magnitude = where(less(abs(wide, s), largest, s), abs(wide, s), largest, s);
  // Three bits of the mantissa stay, ties go to even; the exponent's bias is 7 instead of 127.
  const array kept = view(magnitude, uint32, s);
  const array odd = bitwise_and(right_shift(kept, number(20, uint32), s), number(1, uint32), s);
  const array rounded =
      right_shift(add(add(kept, number(0x7ffff, uint32), s), odd, s), number(20, uint32), s);
  const array normal = subtract(rounded, number(120 << 3, uint32), s);
  const array subnormal = astype(rint(multiply(magnitude, number(512, float32), s), s), uint32, s);
  const array code = where(less(magnitude, number(0x1p-6, float32), s), subnormal, normal, s);
  return astype(bitwise_or(code, sign, s), uint8, s);
}

array from_fp8(const array& x, Dtype dtype, StreamOrDevice s) {
  if (x.dtype() != uint8) {
    fail<ValueError>("[from_fp8] dtype ", name_of(x.dtype()), ", expected uint8.");
  }
  if (!is_floating(dtype)) {
    fail<ValueError>("[from_fp8] result of dtype ", name_of(dtype), ", expected floats.");
  }
  // As float16, which has the same layout with two more bits of exponent and seven of mantissa.
  const auto of = [&](int64_t value) { return number(value, uint16); };
  const array wide = astype(x, uint16, s);
  const array magnitude = bitwise_and(wide, of(0x7f), s);
  const array sign = bitwise_and(wide, of(0x80), s);
  const array half =
      view(bitwise_or(left_shift(magnitude, of(7), s), left_shift(sign, of(8), s), s), float16, s);
  const array scaled = multiply(astype(half, float32, s), number(256, float32), s);
  const array nan = number(std::numeric_limits<double>::quiet_NaN(), float32);
  return astype(where(equal(magnitude, of(0x7f), s), nan, scaled, s), dtype, s);
}

namespace {

const RecordRow<Quantization, 1> kQuantize(
    "quantize", [](const OperationCall& call, const Quantization& how) {
      return quantize(call.inputs[0], how.args(), std::nullopt, call.stream);
    });
const RecordRow<Quantization, kAnyInputs> kDequantize(
    "dequantize", [](const OperationCall& call, const Quantization& how) {
      if (call.inputs.size() != 2 && call.inputs.size() != 3) {
        fail<ValueError>("[dequantize] ", call.inputs.size(), " inputs, expected 2 or 3.");
      }
      const std::optional<array> biases =
          call.inputs.size() == 3 ? std::optional(call.inputs[2]) : std::nullopt;
      return dequantize(
          call.inputs[0],
          call.inputs[1],
          biases,
          how.args(),
          std::nullopt,
          call.dtype(),
          call.stream);
    });

} // namespace

} // namespace narrows
