#include "narrows/core/dtype.h"

#include <nanobind/stl/string.h>

#include <cmath>
#include <limits>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

PyObject* dtype_objects[kDtypeCount];

constexpr Category kCategories[] = {
    Category::complexfloating,
    Category::floating,
    Category::inexact,
    Category::signedinteger,
    Category::unsignedinteger,
    Category::integer,
    Category::number,
    Category::generic};

// Limits of a floating type; of the real type for complex64.
struct FloatInfo {
  Dtype dtype;
  int bits;
  double min, max, eps, smallest_normal;
};

FloatInfo float_info(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return {dtype, 16, -65504.0, 65504.0, 0x1p-10, 0x1p-14};
    case Dtype::bfloat16:
      return {dtype, 16, -0x1.fep127, 0x1.fep127, 0x1p-7, 0x1p-126};
    case Dtype::float32:
    case Dtype::complex64: {
      using Limits = std::numeric_limits<float>;
      return {float32, 32, Limits::lowest(), Limits::max(), Limits::epsilon(), Limits::min()};
    }
    case Dtype::float64: {
      using Limits = std::numeric_limits<double>;
      return {dtype, 64, Limits::lowest(), Limits::max(), Limits::epsilon(), Limits::min()};
    }
    default:
      fail<ValueError>("[finfo] dtype ", name_of(dtype), ", expected a floating or complex type.");
  }
}

struct IntegerInfo {
  Dtype dtype;
  int bits() const {
    return static_cast<int>(8 * size_of(dtype));
  }
  int64_t min() const {
    return is_unsigned(dtype) ? 0 : std::numeric_limits<int64_t>::min() >> (64 - bits());
  }
  uint64_t max() const {
    return std::numeric_limits<uint64_t>::max() >> (64 - bits() + (is_unsigned(dtype) ? 0 : 1));
  }
};

IntegerInfo integer_info(Dtype dtype) {
  if (!is_integer(dtype)) {
    fail<ValueError>("[iinfo] dtype ", name_of(dtype), ", expected an integer type.");
  }
  return {dtype};
}

bool is_kind(Dtype dtype, const std::string& kind) {
  if (kind == "bool") {
    return dtype == bool_;
  }
  if (kind == "signed integer") {
    return is_signed_integer(dtype);
  }
  if (kind == "unsigned integer") {
    return is_unsigned(dtype);
  }
  if (kind == "integral") {
    return is_integer(dtype);
  }
  if (kind == "real floating") {
    return is_floating(dtype);
  }
  if (kind == "complex floating") {
    return is_complex(dtype);
  }
  if (kind == "numeric") {
    return dtype != bool_;
  }
  fail<ValueError>(
      "[isdtype] kind '",
      kind,
      "', expected bool, signed integer, unsigned integer, integral, real floating, complex "
      "floating or numeric.");
}

bool is_dtype(Dtype dtype, nb::handle kind) {
  Dtype other;
  if (nb::try_cast(kind, other)) {
    return dtype == other;
  }
  if (nb::isinstance<nb::str>(kind)) {
    return is_kind(dtype, nb::cast<std::string>(kind));
  }
  if (nb::isinstance<nb::tuple>(kind)) {
    bool any = false;
    for (nb::handle item : nb::borrow<nb::tuple>(kind)) {
      if (nb::isinstance<nb::tuple>(item)) {
        fail<ValueError>("[isdtype] kind is a nested tuple, expected dtypes and strings in it.");
      }
      any |= is_dtype(dtype, item);
    }
    return any;
  }
  fail<ValueError>("[isdtype] kind must be a dtype, a string, or a tuple of dtypes and strings.");
}

// A dtype as a leaf of the tree of categories, or a category.
struct TypeOrCategory {
  std::optional<Dtype> dtype;
  Category category;
};

TypeOrCategory type_or_category(nb::handle object, const char* which) {
  Dtype dtype;
  if (nb::try_cast(object, dtype)) {
    return {dtype, category_of(dtype)};
  }
  Category category;
  if (nb::try_cast(object, category, false)) {
    return {std::nullopt, category};
  }
  fail<ValueError>("[issubdtype] the ", which, " argument is no dtype and no category.");
}

bool is_subtype(nb::handle a, nb::handle b) {
  const TypeOrCategory child = type_or_category(a, "first");
  const TypeOrCategory parent = type_or_category(b, "second");
  if (parent.dtype) {
    return child.dtype == parent.dtype;
  }
  return is_subcategory(child.category, parent.category);
}

Dtype dtype_of(nb::handle object, const char* op) {
  if (const array* a = array_inside(object)) {
    return a->dtype();
  }
  Dtype dtype;
  if (!nb::try_cast(object, dtype)) {
    fail<ValueError>(
        "[", op, "] got ", nb::type_name(object.type()).c_str(), ", expected arrays or dtypes.");
  }
  return dtype;
}

Dtype result_type(const nb::args& arguments) {
  if (arguments.size() == 0) {
    fail<ValueError>("[result_type] no arguments, expected arrays or dtypes.");
  }
  Dtype result = dtype_of(arguments[0], "result_type");
  for (size_t i = 1; i < arguments.size(); ++i) {
    result = promote(result, dtype_of(arguments[i], "result_type"));
  }
  return result;
}

// The name under which the module holds the dtype: bool_ for bool, which Python has already.
std::string attribute_name(Dtype dtype) {
  return dtype == bool_ ? "bool_" : std::string(name_of(dtype));
}

void bind_info(nb::module_& m) {
  nb::class_<FloatInfo>(m, "finfo", "Limits of a floating or complex dtype.")
      .def(
          "__init__",
          [](FloatInfo* self, Dtype dtype) { new (self) FloatInfo(float_info(dtype)); },
          "dtype"_a,
          "ValueError if the dtype is not floating or complex.")
      .def_prop_ro(
          "dtype", [](const FloatInfo& i) { return i.dtype; }, "The (real) dtype.")
      .def_ro("bits", &FloatInfo::bits, "Bits of one number.")
      .def_ro("min", &FloatInfo::min, "Smallest finite number.")
      .def_ro("max", &FloatInfo::max, "Largest finite number.")
      .def_ro("eps", &FloatInfo::eps, "Distance from 1 to the next larger number.")
      .def_ro("smallest_normal", &FloatInfo::smallest_normal, "Smallest positive normal number.")
      .def("__repr__", [](const FloatInfo& i) {
        return concat_message(
            "finfo(min=", i.min, ", max=", i.max, ", dtype=", name_of(i.dtype), ")");
      });
  nb::class_<IntegerInfo>(m, "iinfo", "Limits of an integer dtype.")
      .def(
          "__init__",
          [](IntegerInfo* self, Dtype dtype) { new (self) IntegerInfo(integer_info(dtype)); },
          "dtype"_a,
          "ValueError if the dtype is not an integer type.")
      .def_prop_ro(
          "dtype", [](const IntegerInfo& i) { return i.dtype; }, "The dtype.")
      .def_prop_ro("bits", &IntegerInfo::bits, "Bits of one number.")
      .def_prop_ro("min", &IntegerInfo::min, "Smallest number.")
      .def_prop_ro("max", &IntegerInfo::max, "Largest number.")
      .def("__repr__", [](const IntegerInfo& i) {
        return concat_message(
            "iinfo(min=", i.min(), ", max=", i.max(), ", dtype=", name_of(i.dtype), ")");
      });
}

} // namespace

nb::handle dtype_object(Dtype dtype) {
  return dtype_objects[static_cast<size_t>(dtype)];
}

namespace {

void bind_dtype(nb::module_& m) {
  nb::class_<DtypeObject>(m, "Dtype", "The type of an array's elements.")
      .def_prop_ro(
          "size", [](const DtypeObject& d) { return size_of(d.dtype); }, "Bytes of one element.")
      .def(
          "__eq__",
          [](const DtypeObject& d, nb::handle other) {
            Dtype dtype;
            return nb::try_cast(other, dtype) && dtype == d.dtype;
          },
          nb::arg().none())
      .def("__hash__", [](const DtypeObject& d) { return static_cast<int64_t>(d.dtype); })
      .def("__reduce__", [](const DtypeObject& d) { return attribute_name(d.dtype); })
      .def("__repr__", [](const DtypeObject& d) {
        return concat_message("narrows.core.", name_of(d.dtype));
      });
  for (int i = 0; i < kDtypeCount; ++i) {
    const Dtype dtype = static_cast<Dtype>(i);
    nb::object object = nb::cast(DtypeObject{dtype});
    m.attr(attribute_name(dtype).c_str()) = object;
    dtype_objects[i] = object.release().ptr();
  }

  nb::enum_<Category> category(
      m, "DtypeCategory", "Sets of dtypes: generic > number > integer, inexact and so on.");
  for (Category c : kCategories) {
    category.value(std::string(name_of(c)).c_str(), c);
  }
  category.export_values();

  bind_info(m);
  define<"issubdtype(arg1: Dtype | DtypeCategory, arg2: Dtype | DtypeCategory) -> bool">(
      m,
      &is_subtype,
      R"(Whether a dtype or category lies below another in the tree of categories.

      Args:
        arg1: A dtype or a category.
        arg2: A dtype or a category.

      Returns:
        True if both are the same, or if `arg2` is a category that contains `arg1`.

      Raises:
        ValueError: If an argument is neither.

      Example:
        >>> mx.issubdtype(mx.float16, mx.floating)
        True
        >>> mx.issubdtype(mx.integer, mx.number)
        True
      )");
  define<"isdtype(dtype: Dtype, kind: Dtype | str | tuple[Dtype | str, ...]) -> bool">(
      m,
      &is_dtype,
      R"(Whether a dtype is of a kind, in the words of the array API.

      Args:
        dtype: A dtype.
        kind: A dtype, one of 'bool', 'signed integer', 'unsigned integer', 'integral',
          'real floating', 'complex floating' and 'numeric', or a tuple of these, of which one
          must hold.

      Returns:
        True or False.

      Raises:
        ValueError: For other kinds.

      Example:
        >>> mx.isdtype(mx.int8, "integral")
        True
        >>> mx.isdtype(mx.int8, ("bool", "real floating"))
        False
      )");
  define<"result_type(*arrays_and_dtypes: array | Dtype) -> Dtype">(
      m,
      &result_type,
      R"(The dtype that operands of these dtypes are converted to.

      Args:
        *arrays_and_dtypes: Arrays and dtypes, at least one.

      Returns:
        The common dtype.

      Raises:
        ValueError: If there are none, or for other objects.

      Example:
        >>> mx.result_type(mx.int32, mx.float16)
        narrows.core.float16
      )");
  define<"can_cast(from_: array | Dtype, to: Dtype) -> bool">(
      m,
      [](nb::handle from, Dtype to) { return can_cast(dtype_of(from, "can_cast"), to); },
      R"(Whether a dtype may be converted to another by promotion.

      Args:
        from_: An array or a dtype.
        to: A dtype.

      Returns:
        True or False.

      Raises:
        ValueError: For other objects.

      Example:
        >>> mx.can_cast(mx.int32, mx.float32)
        True
        >>> mx.can_cast(mx.float32, mx.int32)
        False
      )");
}

const Binding binding{&bind_dtype, Binding::Stage::types};

} // namespace
} // namespace narrows::python
