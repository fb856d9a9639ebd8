#include "narrows/ops/elementwise.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"

namespace narrows::python {
namespace {

using Unary = array (*)(const array&, StreamOrDevice);
using Binary = array (*)(const array&, const array&, StreamOrDevice);

struct UnaryFunction {
  const char* op;
  Unary apply;

  array operator()(ScalarOrArray a, const StreamArg& s) const {
    return apply(to_operand(op, a.object), s);
  }
};

struct BinaryFunction {
  const char* op;
  Binary apply;

  array operator()(ScalarOrArray a, ScalarOrArray b, const StreamArg& s) const {
    const auto [x, y] = to_operands(op, a.object, b.object);
    return apply(x, y, s);
  }
};

// Sentences about dtypes, made from a row of the table.
std::string operand_text(const ElementwiseInfo& info) {
  switch (info.operands) {
    case ElementwiseInfo::Operands::floating:
      return "Integers and bool are converted to float32.";
    case ElementwiseInfo::Operands::logical:
      return "Elements are true where they are not zero.";
    case ElementwiseInfo::Operands::integral:
    case ElementwiseInfo::Operands::same:
      break;
  }
  return "";
}

const char* kernels_text(ElementwiseInfo::Kernels kernels) {
  switch (kernels) {
    case ElementwiseInfo::Kernels::numeric:
      return "ValueError for bool.";
    case ElementwiseInfo::Kernels::real:
      return "ValueError for complex64.";
    case ElementwiseInfo::Kernels::floating:
      return "ValueError for complex64.";
    case ElementwiseInfo::Kernels::integral:
      return "ValueError unless all are integers or bool.";
    case ElementwiseInfo::Kernels::any:
    case ElementwiseInfo::Kernels::inexact:
    case ElementwiseInfo::Kernels::boolean:
      break;
  }
  return "";
}

std::string docstring(const ElementwiseInfo& info) {
  std::string text = std::string(info.summary) + "\n\n";
  text += info.arity == 1
              ? "Elementwise: the result has the shape of `a`"
              : "Elementwise, after `a` and `b` are broadcast to a common shape and converted to "
                "a common dtype; a Python number takes the dtype of the array beside it. The "
                "result has that shape";
  text += info.result == ResultRule::boolean ? " and dtype bool."
          : info.result == ResultRule::real  ? " and a real dtype."
                                             : " and dtype.";
  for (const std::string& more : {operand_text(info), std::string(kernels_text(info.kernels))}) {
    text += more.empty() ? "" : " " + more;
  }
  if (info.arity == 2) {
    text += " ValueError if the shapes do not broadcast.";
  }
  return text;
}

void bind_row(nb::module_& m, const ElementwiseInfo& info, Unary apply) {
  m.def(
      info.name,
      UnaryFunction{info.name, apply},
      nb::arg(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig(concat_message(
                  "def ",
                  info.name,
                  "(a: bool | int | float | complex | array | ArrayLike, /, *, stream: Stream | "
                  "ThreadLocalStream | Device | DeviceType | None = None) -> array")
                  .c_str()),
      docstring(info).c_str());
}

void bind_row(nb::module_& m, const ElementwiseInfo& info, Binary apply) {
  m.def(
      info.name,
      BinaryFunction{info.name, apply},
      nb::arg(),
      nb::arg(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig(concat_message(
                  "def ",
                  info.name,
                  "(a: bool | int | float | complex | array | ArrayLike, b: bool | int | float | "
                  "complex | array | ArrayLike, /, *, stream: Stream | ThreadLocalStream | Device "
                  "| DeviceType | None = None) -> array")
                  .c_str()),
      docstring(info).c_str());
}

void bind_rows(nb::module_& m) {
#define NARROWS_BIND_1(name) \
  bind_row(m, elementwise_info(ElementwiseOp::name), static_cast<Unary>(narrows::name));
#define NARROWS_BIND_2(name) \
  bind_row(m, elementwise_info(ElementwiseOp::name), static_cast<Binary>(narrows::name));
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_BIND_##arity(name)
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
#undef NARROWS_BIND_1
#undef NARROWS_BIND_2
}

// Methods of the class that are rows of the table.
void bind_methods(ArrayClass& c) {
  constexpr std::pair<const char*, Unary> kMethods[] = {
      {"abs", abs},
      {"conj", conjugate},
      {"cos", cos},
      {"exp", exp},
      {"log", log},
      {"log10", log10},
      {"log1p", log1p},
      {"log2", log2},
      {"reciprocal", reciprocal},
      {"rsqrt", rsqrt},
      {"sin", sin},
      {"sqrt", sqrt},
      {"square", square}};
  for (const auto& [name, apply] : kMethods) {
    c.def(
        name,
        [apply = apply](const array& a, const StreamArg& s) { return apply(a, s); },
        nb::kw_only(),
        "stream"_a = nb::none(),
        concat_message("See narrows.core.", name, "().").c_str());
  }
}

array convert(const array& a, Dtype dtype, const StreamArg& s) {
  return astype(a, dtype, s);
}

array select(ScalarOrArray condition, ScalarOrArray x, ScalarOrArray y, const StreamArg& s) {
  const auto [a, b] = to_operands("where", x.object, y.object);
  return where(to_operand("where", condition.object), a, b, s);
}

// What tests go through.
nb::list table() {
  constexpr const char* kOperands[] = {"same", "floating", "logical", "integral"};
  constexpr const char* kResults[] = {"same", "boolean", "real"};
  constexpr const char* kKernels[] = {
      "any", "numeric", "real", "inexact", "floating", "integral", "boolean"};
  nb::list rows;
  for (const ElementwiseInfo& info : elementwise_table()) {
    rows.append(nb::make_tuple(
        info.name,
        info.arity,
        kOperands[static_cast<int>(info.operands)],
        kResults[static_cast<int>(info.result)],
        kKernels[static_cast<int>(info.kernels)]));
  }
  return rows;
}

void bind_aliases(nb::module_& m) {
  constexpr std::pair<const char*, const char*> kAliases[] = {
      {"acos", "arccos"},
      {"acosh", "arccosh"},
      {"asin", "arcsin"},
      {"asinh", "arcsinh"},
      {"atan", "arctan"},
      {"atan2", "arctan2"},
      {"atanh", "arctanh"},
      {"bitwise_left_shift", "left_shift"},
      {"bitwise_right_shift", "right_shift"},
      {"conj", "conjugate"},
      {"pow", "power"}};
  for (const auto& [alias, name] : kAliases) {
    m.attr(alias) = m.attr(name);
  }
}

void bind_elementwise(nb::module_& m) {
  ArrayClass c = array_class();
  bind_rows(m);
  bind_methods(c);
  bind_aliases(m);
  m.def(
      "astype",
      &convert,
      nb::arg(),
      nb::arg(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def astype(a: array, dtype: Dtype, /, *, stream: Stream | ThreadLocalStream | "
              "Device | DeviceType | None = None) -> array"),
      "`a` converted to `dtype`. Floating point to integer truncates; complex to real drops the "
      "imaginary part.");
  c.def(
      "astype",
      &convert,
      "dtype"_a,
      "stream"_a = nb::none(),
      "The array converted to `dtype`; see narrows.core.astype().");
  m.def(
      "where",
      &select,
      nb::arg(),
      nb::arg(),
      nb::arg(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def where(condition: bool | int | float | complex | array | ArrayLike, x: bool | "
              "int | float | complex | array | ArrayLike, y: bool | int | float | complex | array "
              "| ArrayLike, /, *, stream: Stream | ThreadLocalStream | Device | DeviceType | None "
              "= None) -> array"),
      "Elements of `x` where `condition` is true, else of `y`, after all three are broadcast to a "
      "common shape, and `x` and `y` converted to a common dtype.");
  m.def(
      "_elementwise_table",
      &table,
      "Rows of (name, arity, operands, result, kernels) of the elementwise operations.");
}

const Binding binding{&bind_elementwise};

} // namespace
} // namespace narrows::python
