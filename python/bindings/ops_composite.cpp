#include "narrows/ops/composite.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/method.h"

namespace narrows::python {
namespace {

using Unary = array (*)(const array&, StreamOrDevice);

void bind_unary(nb::module_& m, const char* name, Unary apply, const char* doc) {
  m.def(
      name,
      [name, apply](ScalarOrArray a, const StreamArg& s) {
        return apply(to_operand(name, a.object), s);
      },
      "a"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      doc);
}

std::optional<array> optional_operand(const char* op, nb::handle object, Dtype dtype) {
  return object.is_none() ? std::nullopt
                          : std::optional<array>(to_operand_beside(op, object, dtype));
}

void bind_rounding(nb::module_& m, ArrayClass& c) {
  const char* round_doc =
      "Rounded to `decimals` digits after the point (before it, if negative), ties to even.";
  m.def(
      "round",
      [](ScalarOrArray a, int decimals, const StreamArg& s) {
        return round(to_operand("round", a.object), decimals, s);
      },
      "a"_a,
      "decimals"_a = 0,
      "stream"_a = nb::none(),
      round_doc);
  c.def(
      "round",
      [](const array& a, int decimals, const StreamArg& s) { return round(a, decimals, s); },
      "decimals"_a = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      round_doc);
  bind_unary(m, "trunc", trunc, "Rounded towards zero; integers are unchanged.");
  bind_unary(m, "positive", positive, "The array itself.");
  bind_unary(m, "degrees", degrees, "Radians as degrees; float32 for integers.");
  bind_unary(m, "radians", radians, "Degrees as radians; float32 for integers.");
  m.def(
      "clip",
      [](const array& a, nb::handle a_min, nb::handle a_max, const StreamArg& s) {
        return clip(
            a,
            optional_operand("clip", a_min, a.dtype()),
            optional_operand("clip", a_max, a.dtype()),
            s);
      },
      "a"_a,
      nb::arg("a_min").none(),
      nb::arg("a_max").none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def clip(a: array, /, a_min: bool | int | float | complex | array | ArrayLike | "
              "None, a_max: bool | int | float | complex | array | ArrayLike | None, *, stream: "
              "Stream | ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "Elements below `a_min` become it, those above `a_max` that. ValueError if both are None.");
  m.def(
      "nan_to_num",
      [](ScalarOrArray a,
         double nan,
         std::optional<double> posinf,
         std::optional<double> neginf,
         const StreamArg& s) {
        return nan_to_num(to_operand("nan_to_num", a.object), nan, posinf, neginf, s);
      },
      "a"_a,
      "nan"_a = 0.0,
      "posinf"_a = nb::none(),
      "neginf"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "NaN replaced by `nan`, infinities by `posinf` and `neginf` (by default the largest and "
      "lowest finite number).");
}

void bind_comparisons(nb::module_& m) {
  m.def(
      "isclose",
      [](ScalarOrArray a,
         ScalarOrArray b,
         double rtol,
         double atol,
         bool equal_nan,
         const StreamArg& s) {
        const auto [x, y] = to_operands("isclose", a.object, b.object);
        return isclose(x, y, rtol, atol, equal_nan, s);
      },
      "a"_a,
      "a"_a,
      "rtol"_a = 1e-5,
      "atol"_a = 1e-8,
      nb::kw_only(),
      "equal_nan"_a = false,
      "stream"_a = nb::none(),
      "Whether |a - b| <= atol + rtol * |b|, elementwise; infinities are close to themselves.");
  m.def(
      "allclose",
      [](ScalarOrArray a,
         ScalarOrArray b,
         double rtol,
         double atol,
         bool equal_nan,
         const StreamArg& s) {
        const auto [x, y] = to_operands("allclose", a.object, b.object);
        return allclose(x, y, rtol, atol, equal_nan, s);
      },
      "a"_a,
      "a"_a,
      "rtol"_a = 1e-5,
      "atol"_a = 1e-8,
      nb::kw_only(),
      "equal_nan"_a = false,
      "stream"_a = nb::none(),
      "Whether isclose() holds for all elements; a bool of shape ().");
  m.def(
      "array_equal",
      [](ScalarOrArray a, ScalarOrArray b, bool equal_nan, const StreamArg& s) {
        const auto [x, y] = to_operands("array_equal", a.object, b.object);
        return array_equal(x, y, equal_nan, s);
      },
      "a"_a,
      "b"_a,
      "equal_nan"_a = false,
      "stream"_a = nb::none(),
      "Whether shapes and all elements are equal; a bool of shape (). Dtypes may differ.");
}

void bind_composite(nb::module_& m) {
  ArrayClass c = array_class();
  bind_rounding(m, c);
  bind_comparisons(m);
  m.def(
      "divmod",
      [](ScalarOrArray a, ScalarOrArray b, const StreamArg& s) {
        const auto [x, y] = to_operands("divmod", a.object, b.object);
        const auto [quotient, rest] = divmod(x, y, s);
        nb::list both;
        both.append(quotient);
        both.append(rest);
        return both;
      },
      "a"_a,
      "b"_a,
      "stream"_a = nb::none(),
      nb::sig("def divmod(a: bool | int | float | complex | array | ArrayLike, b: bool | int | "
              "float | complex | array | ArrayLike, stream: Stream | ThreadLocalStream | Device | "
              "DeviceType | None = None) -> list[array]"),
      "[floor_divide(a, b), remainder(a, b)].");
  m.def(
      "diff",
      [](const array& a, int n, int axis, const StreamArg& s) { return diff(a, n, axis, s); },
      "a"_a,
      "n"_a = 1,
      "axis"_a = -1,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Differences of neighbours along `axis`, `n` times over. ValueError if `n` is negative.");
  m.def(
      "trace",
      [](const array& a,
         int offset,
         int axis1,
         int axis2,
         std::optional<Dtype> dtype,
         const StreamArg& s) { return trace(a, offset, axis1, axis2, dtype, s); },
      "a"_a,
      "offset"_a = 0,
      "axis1"_a = 0,
      "axis2"_a = 1,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Sum of the diagonal `offset` above the main one. ValueError for fewer than two dimensions.");
}

const Binding binding{&bind_composite};

} // namespace
} // namespace narrows::python
