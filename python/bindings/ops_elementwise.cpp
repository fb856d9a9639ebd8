#include "narrows/ops/elementwise.h"

#include <algorithm>
#include <string>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"

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

// Sentences about dtypes, made of a row of the table.
const char* operand_text(const ElementwiseInfo& info) {
  switch (info.operands) {
    case ElementwiseInfo::Operands::floating:
      return " Integers and bool are converted to float32.";
    case ElementwiseInfo::Operands::logical:
      return " Elements are true where they are not zero.";
    case ElementwiseInfo::Operands::integral:
    case ElementwiseInfo::Operands::same:
      break;
  }
  return "";
}

const char* result_text(const ElementwiseInfo& info) {
  switch (info.result) {
    case ResultRule::boolean:
      return "bool, ";
    case ResultRule::real:
      return "A real dtype, ";
    default:
      return info.arity == 1 ? "The dtype of the operand, " : "The common dtype, ";
  }
}

const char* kernels_text(ElementwiseInfo::Kernels kernels) {
  switch (kernels) {
    case ElementwiseInfo::Kernels::numeric:
      return "For bool.";
    case ElementwiseInfo::Kernels::real:
    case ElementwiseInfo::Kernels::floating:
      return "For complex64.";
    case ElementwiseInfo::Kernels::integral:
      return "Unless the operands are integers or bool.";
    case ElementwiseInfo::Kernels::any:
    case ElementwiseInfo::Kernels::inexact:
    case ElementwiseInfo::Kernels::boolean:
      break;
  }
  return "";
}

// A row's text is a summary, then an example with what it prints.
std::string docstring_of(const ElementwiseInfo& info) {
  const std::string_view text = info.summary;
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string operand = std::string("An array or a number.") + operand_text(info);
  const std::string raises = kernels_text(info.kernels);
  std::string doc = std::string(text.substr(0, end)) + "\n\nIt works element by element.";
  if (info.arity == 2) {
    doc += " A Python number takes the dtype of the array beside it.";
  }
  doc += "\n\nArgs:\n  a: " + operand;
  if (info.arity == 2) {
    doc += "\n  b: An array or a number. Shapes broadcast.";
  }
  doc += std::string("\n\nReturns:\n  ") + result_text(info) +
         (info.arity == 1 ? "in the shape of `a`." : "in the broadcast shape.");
  if (info.arity == 2) {
    doc += "\n\nRaises:\n  ValueError: If the shapes do not broadcast." +
           (raises.empty() ? "" : " " + raises);
  } else if (!raises.empty()) {
    doc += "\n\nRaises:\n  ValueError: " + raises;
  }
  if (end < text.size()) {
    doc += "\n\nExample:";
    for (const char c : text.substr(end)) {
      doc += c == '\n' ? "\n  " : std::string(1, c);
    }
  }
  return doc;
}

// In MLX some of these functions take the stream by position.
bool has_positional_stream(std::string_view name) {
  constexpr std::string_view kNames[] = {
      "add",      "bitwise_and",  "bitwise_invert", "bitwise_or",    "bitwise_xor", "divide",
      "equal",    "floor_divide", "greater",        "greater_equal", "isfinite",    "isinf",
      "isnan",    "isneginf",     "isposinf",       "left_shift",    "less",        "less_equal",
      "multiply", "not_equal",    "remainder",      "right_shift",   "subtract"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

void bind_row(nb::module_& m, const ElementwiseInfo& info, Unary apply) {
  const UnaryFunction f{info.name, apply};
  const std::string doc = docstring_of(info);
  if (has_positional_stream(info.name)) {
    define_named<"(a: scalar | array | ArrayLike, stream: StreamOrDevice = None) -> array">(
        m, info.name, f, doc);
  } else if (std::string_view(info.name) == "conjugate") {
    define_named<"(a: scalar | array | ArrayLike, *, stream: StreamOrDevice = None) -> array">(
        m, info.name, f, doc);
  } else {
    define_named<"(a: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
        m, info.name, f, doc);
  }
}

void bind_row(nb::module_& m, const ElementwiseInfo& info, Binary apply) {
  const BinaryFunction f{info.name, apply};
  const std::string doc = docstring_of(info);
  if (has_positional_stream(info.name)) {
    define_named<
        "(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, "
        "stream: StreamOrDevice = None) -> array">(m, info.name, f, doc);
  } else {
    define_named<
        "(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, /, *, "
        "stream: StreamOrDevice = None) -> array">(m, info.name, f, doc);
  }
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
void bind_methods() {
  ArrayClass c = array_class();
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
    define_method_named<"(self, *, stream: StreamOrDevice = None) -> array">(
        c,
        name,
        [apply = apply](const array& a, const StreamArg& s) { return apply(a, s); },
        concat_message("The same as the function `", name, "()`, which says more."));
  }
}

array convert(const array& a, Dtype dtype, const StreamArg& s) {
  return astype(a, dtype, s);
}

array select(ScalarOrArray condition, ScalarOrArray x, ScalarOrArray y, const StreamArg& s) {
  const auto [a, b] = to_operands("where", x.object, y.object);
  return where(to_operand("where", condition.object), a, b, s);
}

// The table as data, for tests.
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
  bind_methods();
  bind_aliases(m);
  define<"astype(a: array, dtype: Dtype, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      &convert,
      R"(The elements converted to another dtype.

      Args:
        a: An array.
        dtype: The dtype. Floating point to integer truncates; complex to real drops the imaginary
          part.

      Returns:
        The shape of `a`.

      Example:
        >>> mx.astype(mx.array([1.7, -1.7]), mx.int32)
        array([1, -1], dtype=int32)
      )");
  define_method<"astype(self, dtype: Dtype, stream: StreamOrDevice = None) -> array">(
      c, &convert, R"(The elements converted to another dtype.

      The same as the function `astype()`, which says more.

      Example:
        >>> mx.array([1.7, -1.7]).astype(mx.int32)
        array([1, -1], dtype=int32)
      )");
  define<
      "where(condition: scalar | array | ArrayLike, x: scalar | array | ArrayLike, "
      "y: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      &select,
      R"(Elements of `x` where a condition holds, elsewhere of `y`.

      Args:
        condition: An array or a number; what is not zero holds. Shapes broadcast.
        x: An array or a number.
        y: An array or a number.

      Returns:
        The common dtype of `x` and `y`, in the broadcast shape.

      Raises:
        ValueError: If the shapes do not broadcast.

      Example:
        >>> mx.where(mx.array([True, False]), mx.array([1, 2]), 0)
        array([1, 0], dtype=int32)
      )");
  m.def(
      "_elementwise_table",
      &table,
      "Rows of (name, arity, operands, result, kernels) of the elementwise operations.");
}

const Binding binding{&bind_elementwise};

} // namespace
} // namespace narrows::python
