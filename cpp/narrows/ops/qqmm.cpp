#include "narrows/ops/qqmm.h"

#include "narrows/ops/elementwise.h"
#include "narrows/ops/gather_mm.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/quantization.h"
#include "narrows/ops/quantized_matmul.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

Quantization checked_mode(
    const char* op,
    const array& w,
    const std::optional<array>& scales,
    const QuantizationArgs& args) {
  const Quantization how(op, args);
  if (how.is_affine()) {
    fail<ValueError>("[", op, "] mode 'affine', expected 'mxfp4', 'mxfp8' or 'nvfp4'.");
  }
  if (!scales) {
    require_quantizable(op, w.dtype());
  }
  return how;
}

// What is left of numbers that are quantized along their rows; its derivative is that of `a`.
array rounded(
    const array& a,
    const Quantization& how,
    const std::optional<array>& global_scale,
    StreamOrDevice s) {
  const std::vector<array> parts = quantize(a, how.args(), global_scale, s);
  const array numbers =
      dequantize(parts[0], parts[1], std::nullopt, how.args(), global_scale, a.dtype(), s);
  // a - a is zero, exactly, and its derivative is not.
  const array change = subtract(a, stop_gradient(a, s), s);
  return add(stop_gradient(numbers, s), change, s);
}

void check_rows(const char* op, const array& x, const Quantization& how) {
  require_quantizable(op, x.dtype());
  if (x.ndim() < 2 || x.shape(-1) % how.group_size != 0) {
    fail<ValueError>(
        "[",
        op,
        "] x of shape ",
        to_string(x.shape()),
        ", expected a multiple of group_size ",
        how.group_size,
        " as the last dimension.");
  }
}

} // namespace

array qqmm(
    const array& x,
    const array& w,
    const std::optional<array>& scales,
    const QuantizationArgs& args,
    const std::optional<array>& global_scale_x,
    const std::optional<array>& global_scale_w,
    StreamOrDevice s) {
  if (x.ndim() == 1) {
    const array row = expand_dims(x, {0}, s);
    return squeeze(qqmm(row, w, scales, args, global_scale_x, global_scale_w, s), {-2}, s);
  }
  const Quantization how = checked_mode("qqmm", w, scales, args);
  check_rows("qqmm", x, how);
  check_global_scale("qqmm", global_scale_w, how);
  if (w.ndim() != 2) {
    fail<ValueError>("[qqmm] w of shape ", to_string(w.shape()), ", expected two dimensions.");
  }
  const array left = rounded(x, how, global_scale_x, s);
  if (scales) {
    const array product = quantized_matmul(left, w, *scales, std::nullopt, true, how.args(), s);
    return with_global_scale(product, global_scale_w, s);
  }
  if (w.shape(1) != x.shape(-1)) {
    fail<ValueError>(
        "[qqmm] x of shape ",
        to_string(x.shape()),
        " and w of shape ",
        to_string(w.shape()),
        ", expected the same last dimension.");
  }
  return matmul(left, matrix_transpose(rounded(w, how, global_scale_w, s), s), s);
}

array gather_qqmm(
    const array& x,
    const array& w,
    const std::optional<array>& scales,
    const std::optional<array>& lhs_indices,
    const std::optional<array>& rhs_indices,
    const QuantizationArgs& args,
    const std::optional<array>& global_scale_x,
    const std::optional<array>& global_scale_w,
    StreamOrDevice s) {
  const Quantization how = checked_mode("gather_qqmm", w, scales, args);
  check_rows("gather_qqmm", x, how);
  const array left = rounded(x, how, global_scale_x, s);
  if (scales) {
    return gather_qmm(
        left,
        w,
        *scales,
        std::nullopt,
        lhs_indices,
        rhs_indices,
        true,
        how.args(),
        global_scale_w,
        s);
  }
  if (w.ndim() < 2 || w.shape(-1) != x.shape(-1)) {
    fail<ValueError>(
        "[gather_qqmm] x of shape ",
        to_string(x.shape()),
        " and w of shape ",
        to_string(w.shape()),
        ", expected two dimensions at least and the same last one.");
  }
  const array right = matrix_transpose(rounded(w, how, global_scale_w, s), s);
  return gather_mm(left, right, lhs_indices, rhs_indices, s);
}

} // namespace narrows
