#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "narrows/ops/qqmm.h"
#include "narrows/ops/quantized.h"
#include "narrows/ops/quantized_matmul.h"

namespace narrows::python {
namespace {

using OptionalArray = std::optional<array>;
using OptionalInt = std::optional<int>;

void bind_quantize(nb::module_& m) {
  define<
      "quantize(w: array, /, group_size: int | None = None, bits: int | None = None, mode: str = "
      "'affine', *, global_scale: array | None = None, stream: StreamOrDevice = None) -> "
      "tuple[array, array, array]">(
      m,
      [](const array& w,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const OptionalArray& global_scale,
         const StreamArg& s) {
        nb::list parts;
        for (array& part : quantize(w, {group_size, bits, mode}, global_scale, s)) {
          parts.append(std::move(part));
        }
        return nb::tuple(parts);
      },
      R"(Numbers in few bits, in groups along the last axis that share a scale.

      The mode says how: "affine" (1, 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128; a number
      is scale * code + bias), "mxfp4" and "mxfp8" (floats of 4 and 8 bits in groups of 32; scales
      are powers of two) or "nvfp4" (floats of 4 bits in groups of 16; scales are floats of 8 bits).
      Codes follow each other without gaps, from the lowest bit of the first 32-bit word on.

      Args:
        w: Shape (..., m, n), of float32, float16 or bfloat16; n is a multiple of `group_size`.
        group_size: Numbers that share a scale; default: 64 for "affine", else what the mode has.
        bits: Bits of a code; default: 4 for "affine", else what the mode has.
        mode: "affine", "mxfp4", "mxfp8" or "nvfp4".
        global_scale: For "nvfp4": a float32 scalar, the largest magnitude of all numbers.

      Returns:
        The codes, of shape (..., m, n * bits / 32) and dtype uint32; the scales, of shape
        (..., m, n / group_size), in the dtype of `w` or as uint8; and for "affine" the biases, like
        the scales.

      Raises:
        ValueError: If the mode does not have these bits or this group size, or `w` does not fit.

      Example:
        >>> w = mx.arange(64).reshape(1, 64).astype(mx.float32)
        >>> codes, scales, biases = mx.quantize(w, group_size=64, bits=4)
        >>> codes.shape, biases.item()
        ((1, 8), 63.0)
        >>> scales
        array([[-4.2]], dtype=float32)
      )");
  define<
      "dequantize(w: array, /, scales: array, biases: array | None = None, group_size: int | None "
      "= "
      "None, bits: int | None = None, mode: str = 'affine', global_scale: array | None = None, "
      "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& w,
         const array& scales,
         const OptionalArray& biases,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const OptionalArray& global_scale,
         std::optional<Dtype> dtype,
         const StreamArg& s) {
        return dequantize(w, scales, biases, {group_size, bits, mode}, global_scale, dtype, s);
      },
      R"(The numbers that `quantize()` made codes of, as near as these are.

      Args:
        w: Codes, of shape (..., m, n * bits / 32) and dtype uint32.
        scales: Shape (..., m, n / group_size).
        biases: For "affine": like the scales.
        group_size: As for `quantize()`.
        bits: As for `quantize()`.
        mode: As for `quantize()`.
        global_scale: As for `quantize()`.
        dtype: Of the result: float32, float16 or bfloat16; default: that of scales and biases, or
          bfloat16 where the mode has scales of its own.

      Returns:
        Shape (..., m, n).

      Raises:
        ValueError: If shapes and dtypes do not fit each other and the mode.

      Example:
        >>> parts = mx.quantize(mx.full((1, 32), 2.5), group_size=32, bits=2)
        >>> mx.dequantize(*parts, group_size=32, bits=2)[0, :3]
        array([2.5, 2.5, 2.5], dtype=float32)
      )");
}

void bind_products(nb::module_& m) {
  define<
      "quantized_matmul(x: array, w: array, /, scales: array, biases: array | None = None, "
      "transpose: bool = True, group_size: int | None = None, bits: int | None = None, mode: str = "
      "'affine', *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         const array& w,
         const array& scales,
         const OptionalArray& biases,
         bool transpose,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const StreamArg& s) {
        return quantized_matmul(x, w, scales, biases, transpose, {group_size, bits, mode}, s);
      },
      R"(The product with a matrix whose rows are quantized.

      Sums are in float32. The matrix is never in memory as floats, but for a tile.

      Args:
        x: Shape (..., m, k) or (k,), of a floating-point dtype.
        w: Codes as of `quantize()`: a matrix (n, k), or (k, n) without `transpose`, or a stack of
          such. Stacks of both factors broadcast.
        scales: The scales of `w`.
        biases: The biases of `w`, where the mode has them.
        transpose: Whether the product is with the transposed matrix.
        group_size: As for `quantize()`.
        bits: As for `quantize()`.
        mode: As for `quantize()`.

      Returns:
        Shape (..., m, n), in the common dtype of `x`, `scales` and `biases`.

      Raises:
        ValueError: If shapes and dtypes do not fit each other and the mode.

      Example:
        >>> parts = mx.quantize(mx.ones((2, 32)), group_size=32)
        >>> mx.quantized_matmul(mx.arange(32.0), *parts, group_size=32)
        array([496, 496], dtype=float32)
      )");
  define<
      "gather_qmm(x: array, w: array, /, scales: array, biases: array | None = None, lhs_indices: "
      "array | None = None, rhs_indices: array | None = None, transpose: bool = True, group_size: "
      "int | None = None, bits: int | None = None, mode: str = 'affine', global_scale: array | "
      "None "
      "= None, *, sorted_indices: bool = False, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         const array& w,
         const array& scales,
         const OptionalArray& biases,
         const OptionalArray& lhs_indices,
         const OptionalArray& rhs_indices,
         bool transpose,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const OptionalArray& global_scale,
         bool,
         const StreamArg& s) {
        return gather_qmm(
            x,
            w,
            scales,
            biases,
            lhs_indices,
            rhs_indices,
            transpose,
            {group_size, bits, mode},
            global_scale,
            s);
      },
      R"(Products of chosen matrices with chosen quantized matrices.

      Product i is that of matrix ``lhs_indices[i]`` of `x` and matrix ``rhs_indices[i]`` of `w`.

      Args:
        x: Shape (..., m, k), of a floating-point dtype: a stack of matrices, which are numbered in
          order.
        w: Codes as of `quantize()`: a stack of matrices (n, k), or (k, n) without `transpose`.
        scales: The scales of `w`.
        biases: The biases of `w`, where the mode has them.
        lhs_indices: Integers; default: one for each matrix of `x`, in its stack's shape.
        rhs_indices: Integers; default: one for each matrix of `w`. Both broadcast.
        transpose: Whether products are with transposed matrices.
        group_size: As for `quantize()`.
        bits: As for `quantize()`.
        mode: As for `quantize()`.
        global_scale: As for `quantize()`.
        sorted_indices: Whether `rhs_indices` are sorted; the result is the same.

      Returns:
        The shape of the indices, then (m, n).

      Raises:
        ValueError: If shapes and dtypes do not fit each other and the mode.

      Example:
        >>> w = mx.stack([mx.eye(32), 2 * mx.eye(32)])
        >>> parts = mx.quantize(w, group_size=32, bits=8)
        >>> x = mx.ones((1, 1, 32))
        >>> rhs = mx.array([1, 0, 1])
        >>> mx.gather_qmm(x, *parts, rhs_indices=rhs, group_size=32, bits=8)[:, 0, 0]
        array([2, 1, 2], dtype=float32)
      )");
}

void bind_quantized_inputs(nb::module_& m) {
  define<
      "qqmm(x: array, w: array, scales: array | None = None, group_size: int | None = None, bits: "
      "int | None = None, mode: str = 'nvfp4', global_scale_x: array | None = None, "
      "global_scale_w: "
      "array | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         const array& w,
         const OptionalArray& scales,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const OptionalArray& global_scale_x,
         const OptionalArray& global_scale_w,
         const StreamArg& s) {
        return qqmm(x, w, scales, {group_size, bits, mode}, global_scale_x, global_scale_w, s);
      },
      R"(The product ``x @ w.T`` of numbers that both are quantized.

      Derivatives are those of the product as if nothing was rounded.

      Args:
        x: Shape (..., m, k) or (k,), of float32, float16 or bfloat16. Its rows are quantized.
        w: Shape (n, k), of such a dtype, which is quantized, or codes as of `quantize()`.
        scales: The scales of `w`, if `w` are codes.
        group_size: As for `quantize()`.
        bits: As for `quantize()`.
        mode: "mxfp4", "mxfp8" or "nvfp4", as for `quantize()`.
        global_scale_x: As for `quantize()`, of `x`.
        global_scale_w: As for `quantize()`, of `w`.

      Returns:
        Shape (..., m, n).

      Raises:
        ValueError: If shapes and dtypes do not fit each other and the mode.

      Example:
        >>> mx.qqmm(mx.ones((1, 32)), mx.ones((2, 32)), mode="mxfp4")
        array([[32, 32]], dtype=float32)
      )");
  define<
      "gather_qqmm(x: array, w: array, /, scales: array | None = None, lhs_indices: array | None = "
      "None, rhs_indices: array | None = None, group_size: int | None = None, bits: int | None = "
      "None, mode: str = 'nvfp4', global_scale_x: array | None = None, global_scale_w: array | "
      "None "
      "= None, *, sorted_indices: bool = False, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x,
         const array& w,
         const OptionalArray& scales,
         const OptionalArray& lhs_indices,
         const OptionalArray& rhs_indices,
         OptionalInt group_size,
         OptionalInt bits,
         const std::string& mode,
         const OptionalArray& global_scale_x,
         const OptionalArray& global_scale_w,
         bool,
         const StreamArg& s) {
        return gather_qqmm(
            x,
            w,
            scales,
            lhs_indices,
            rhs_indices,
            {group_size, bits, mode},
            global_scale_x,
            global_scale_w,
            s);
      },
      R"(Products of chosen matrices with transposed chosen matrices, all quantized.

      Product i is that of matrix ``lhs_indices[i]`` of `x` and matrix ``rhs_indices[i]`` of `w`,
      as `qqmm()` computes it.

      Args:
        x: Shape (..., m, k), of float32, float16 or bfloat16.
        w: Shape (..., n, k), of such a dtype, or codes as of `quantize()`.
        scales: The scales of `w`, if `w` are codes.
        lhs_indices: Integers; default: one for each matrix of `x`, in its stack's shape.
        rhs_indices: Integers; default: one for each matrix of `w`. Both broadcast.
        group_size: As for `quantize()`.
        bits: As for `quantize()`.
        mode: "mxfp4", "mxfp8" or "nvfp4", as for `quantize()`.
        global_scale_x: As for `quantize()`, of `x`.
        global_scale_w: As for `quantize()`, of `w`.
        sorted_indices: Whether `rhs_indices` are sorted; the result is the same.

      Returns:
        The shape of the indices, then (m, n).

      Raises:
        ValueError: If shapes and dtypes do not fit each other and the mode.

      Example:
        >>> w = mx.stack([mx.ones((2, 32)), 2 * mx.ones((2, 32))])
        >>> rhs = mx.array([1, 0])
        >>> mx.gather_qqmm(mx.ones((1, 1, 32)), w, rhs_indices=rhs, mode="mxfp4")[:, 0]
        array([[64, 64],
               [32, 32]], dtype=float32)
      )");
}

void bind_fp8(nb::module_& m) {
  define<"to_fp8(x: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x, const StreamArg& s) { return to_fp8(x, s); },
      R"(Floats of 8 bits: a sign, four bits of an exponent, three of a mantissa (E4M3).

      To the nearest, ties to even. What is larger than 448, and NaN, becomes 448.

      Args:
        x: A floating-point array.

      Returns:
        The shape of `x`, as uint8.

      Raises:
        ValueError: If `x` is not floating point.

      Example:
        >>> mx.to_fp8(mx.array([1.0, -2.0, 1000.0]))
        array([56, 192, 126], dtype=uint8)
      )");
  define<"from_fp8(x: array, dtype: Dtype = bfloat16, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x, Dtype dtype, const StreamArg& s) { return from_fp8(x, dtype, s); },
      R"(What floats of 8 bits stand for.

      Args:
        x: An array of uint8, as of `to_fp8()`.
        dtype: Of the result, floating point.

      Returns:
        The shape of `x`.

      Raises:
        ValueError: If `x` is not uint8, or `dtype` not floating point.

      Example:
        >>> mx.from_fp8(mx.array([56, 192, 126], dtype=mx.uint8), mx.float32)
        array([1, -2, 448], dtype=float32)
      )");
}

void bind_quantized(nb::module_& m) {
  bind_quantize(m);
  bind_products(m);
  bind_quantized_inputs(m);
  bind_fp8(m);
}

const Binding binding{&bind_quantized};

} // namespace
} // namespace narrows::python
