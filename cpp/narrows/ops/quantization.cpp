#include "narrows/ops/quantization.h"

#include <algorithm>
#include <array>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/shape.h"

namespace narrows {
namespace {

struct Mode {
  const char* name;
  int64_t kernel;
  std::vector<int> group_sizes; // the default first
  std::vector<int> bits;
};

const std::vector<Mode>& modes() {
  static const std::vector<Mode> all = {
      {"affine", NARROWS_QUANTIZED_AFFINE, {64, 32, 128}, {4, 1, 2, 3, 5, 6, 8}},
      {"mxfp4", NARROWS_QUANTIZED_MXFP4, {32}, {4}},
      {"mxfp8", NARROWS_QUANTIZED_MXFP8, {32}, {8}},
      {"nvfp4", NARROWS_QUANTIZED_NVFP4, {16}, {4}}};
  return all;
}

const Mode& mode_of(const char* op, const std::string& name) {
  for (const Mode& mode : modes()) {
    if (mode.name == name) {
      return mode;
    }
  }
  fail<ValueError>("[", op, "] mode '", name, "', expected 'affine', 'mxfp4', 'mxfp8' or 'nvfp4'.");
}

int checked_choice(
    const char* op,
    const char* what,
    const std::string& mode,
    std::optional<int> given,
    const std::vector<int>& choices) {
  const int value = given.value_or(choices[0]);
  if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
    std::vector<int> sorted = choices;
    std::sort(sorted.begin(), sorted.end());
    std::string list;
    for (size_t i = 0; i < sorted.size(); ++i) {
      list += (i == 0 ? "" : i + 1 == sorted.size() ? " or " : ", ") + std::to_string(sorted[i]);
    }
    fail<ValueError>(
        "[", op, "] ", what, " ", value, " for mode '", mode, "', expected ", list, ".");
  }
  return value;
}

std::string described(const Quantization& how) {
  return concat_message(
      "mode '", how.mode, "', group_size ", how.group_size, " and bits ", how.bits);
}

} // namespace

Quantization::Quantization(const char* op, const QuantizationArgs& how) : mode(how.mode) {
  const Mode& known = mode_of(op, mode);
  group_size = checked_choice(op, "group_size", mode, how.group_size, known.group_sizes);
  bits = checked_choice(op, "bits", mode, how.bits, known.bits);
}

int64_t Quantization::kernel_mode() const {
  return mode_of("quantize", mode).kernel;
}

KernelId Quantization::kernel(KernelFamily family, Dtype in, Dtype out) const {
  KernelId id{family, 0, in, out};
  id.bits = static_cast<uint8_t>(bits);
  id.group = static_cast<uint8_t>(group_size);
  id.mode = static_cast<uint8_t>(kernel_mode());
  return id;
}

void require_quantizable(const char* op, Dtype dtype) {
  if (dtype != float32 && dtype != float16 && dtype != bfloat16) {
    fail<ValueError>(
        "[", op, "] dtype ", name_of(dtype), ", expected float32, float16 or bfloat16.");
  }
}

void check_global_scale(
    const char* op, const std::optional<array>& global_scale, const Quantization& how) {
  if (!global_scale) {
    return;
  }
  if (how.mode != "nvfp4") {
    fail<ValueError>("[", op, "] global_scale with mode '", how.mode, "', expected 'nvfp4'.");
  }
  if (global_scale->ndim() != 0 || global_scale->dtype() != float32) {
    fail<ValueError>(
        "[",
        op,
        "] global_scale of shape ",
        to_string(global_scale->shape()),
        " and dtype ",
        name_of(global_scale->dtype()),
        ", expected a float32 scalar.");
  }
}

array global_factor(const array& global_scale, StreamOrDevice s) {
  // The largest number of a group is the product of the largest code and the largest scale.
  return divide(global_scale, number(6.0 * 448.0, float32), s);
}

array with_global_scale(
    const array& a, const std::optional<array>& global_scale, StreamOrDevice s) {
  if (!global_scale) {
    return a;
  }
  return astype(multiply(a, global_factor(*global_scale, s), s), a.dtype(), s);
}

QuantizedArrays::QuantizedArrays(
    const char* op,
    const array& w,
    const array& scales,
    const std::optional<array>& biases,
    const Quantization& how)
    : w(w), scales(scales), biases(biases) {
  if (w.dtype() != uint32) {
    fail<ValueError>("[", op, "] w of dtype ", name_of(w.dtype()), ", expected uint32.");
  }
  if (w.ndim() < 2) {
    fail<ValueError>(
        "[", op, "] w of shape ", to_string(w.shape()), ", expected two dimensions at least.");
  }
  if (biases.has_value() != how.is_affine()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        biases ? "biases" : "no biases",
        " for mode '",
        how.mode,
        "', expected ",
        biases ? "none." : "some.");
  }
  if (how.is_affine() && !(is_floating(scales.dtype()) && is_floating(biases->dtype()))) {
    fail<ValueError>(
        "[",
        op,
        "] scales of dtype ",
        name_of(scales.dtype()),
        " and biases of dtype ",
        name_of(biases->dtype()),
        ", expected floats.");
  }
  if (!how.is_affine() && scales.dtype() != uint8) {
    fail<ValueError>(
        "[",
        op,
        "] scales of dtype ",
        name_of(scales.dtype()),
        " for mode '",
        how.mode,
        "', expected uint8.");
  }
  Shape expected = shape(how);
  const bool whole = w.shape(-1) * 32 % how.bits == 0 && expected.back() % how.group_size == 0;
  expected.back() /= how.group_size;
  if (!whole || scales.shape() != expected || (biases && biases->shape() != expected)) {
    fail<ValueError>(
        "[",
        op,
        "] w of shape ",
        to_string(w.shape()),
        " with scales of shape ",
        to_string(scales.shape()),
        biases ? " and biases of shape " + to_string(biases->shape()) : std::string(),
        ", expected shapes that fit ",
        described(how),
        ".");
  }
}

std::optional<Dtype> QuantizedArrays::dtype(const Quantization& how) const {
  if (!how.is_affine()) {
    return std::nullopt;
  }
  return promote(scales.dtype(), biases->dtype());
}

std::vector<array> QuantizedArrays::inputs(
    const Quantization& how, Dtype numbers, StreamOrDevice s) const {
  if (!how.is_affine()) {
    return {w, scales};
  }
  return {w, astype(scales, numbers, s), astype(*biases, numbers, s)};
}

Shape QuantizedArrays::shape(const Quantization& how) const {
  Shape result = w.shape();
  result.back() = checked_multiply("dequantize", result.back(), 32) / how.bits;
  return result;
}

array unpacked_codes(const array& w, const Quantization& how, StreamOrDevice s) {
  // Blocks of codes that are whole words. A code lies in one word or in two.
  const int64_t block = std::min(how.group_size, 32);
  const int64_t words = block * how.bits / 32;
  Shape shape = w.shape();
  shape.back() = w.shape(-1) * 32 / how.bits;
  Shape blocks = w.shape();
  blocks.back() /= words;
  blocks.push_back(words);
  const auto word = [&](int64_t value) { return number(value, uint32); };
  const array bit = multiply(arange(int64_t{0}, block, int64_t{1}, uint32, s), word(how.bits), s);
  const array at = right_shift(bit, word(5), s);
  const array next = minimum(add(at, word(1), s), word(words - 1), s);
  const array shift = bitwise_and(bit, word(31), s);
  const array in_blocks = reshape(w, blocks, s);
  const array low = right_shift(take(in_blocks, at, -1, s), shift, s);
  const array high = left_shift(
      left_shift(take(in_blocks, next, -1, s), word(1), s), subtract(word(31), shift, s), s);
  const array mask = word((int64_t{1} << how.bits) - 1);
  return reshape(bitwise_and(bitwise_or(low, high, s), mask, s), shape, s);
}

} // namespace narrows
