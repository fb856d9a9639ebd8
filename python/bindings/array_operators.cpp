#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"

namespace narrows::python {
namespace {

using Binary = array (*)(const array&, const array&, StreamOrDevice);

// An operator of two operands; `op` names it in errors.
struct BinaryOperator {
  const char* op;
  Binary apply;

  array operator()(const array& self, ScalarOrArray other) const {
    return apply(self, to_operand_beside(op, other.object, self.dtype()), {});
  }
};

struct ReflectedOperator {
  const char* op;
  Binary apply;

  array operator()(const array& self, ScalarOrArray other) const {
    return apply(to_operand_beside(op, other.object, self.dtype()), self, {});
  }
};

// Assigns to the array object itself, so that every name of it sees the new value.
struct InPlaceOperator {
  const char* op;
  Binary apply;

  array& operator()(array& self, ScalarOrArray other) const {
    return self = apply(self, to_operand_beside(op, other.object, self.dtype()), {});
  }
};

// a == b and a != b. Objects that are no operands (None, for example) are unequal, and so are
// arrays whose elements have no dtype.
struct EqualityOperator {
  const char* op;
  Binary apply;
  bool if_no_operand;

  nb::object operator()(const array& self, nb::handle other) const {
    std::optional<array> operand;
    try {
      if (is_operand(other)) {
        operand = to_operand_beside(op, other, self.dtype());
      }
    } catch (const NoDtypeError&) {
    }
    return operand ? nb::cast(apply(self, *operand, {})) : nb::object(nb::bool_(if_no_operand));
  }
};

array& divide_in_place(array& self, ScalarOrArray other) {
  if (!is_inexact(self.dtype())) {
    fail<ValueError>(
        "[divide] an array of dtype ",
        name_of(self.dtype()),
        " cannot be divided in place, expected a floating or complex dtype.");
  }
  return self = divide(self, to_operand_beside("divide", other.object, self.dtype()));
}

struct OperatorNames {
  const char* op;
  Binary apply;
  const char* plain;
  const char* reflected; // nullptr: none
  const char* in_place;
};

constexpr OperatorNames kArithmetic[] = {
    {"add", add, "__add__", "__radd__", "__iadd__"},
    {"subtract", subtract, "__sub__", "__rsub__", "__isub__"},
    {"multiply", multiply, "__mul__", "__rmul__", "__imul__"},
    {"divide", divide, "__truediv__", "__rtruediv__", nullptr},
    {"divide", divide, "__div__", "__rdiv__", nullptr},
    {"floor_divide", floor_divide, "__floordiv__", "__rfloordiv__", "__ifloordiv__"},
    {"remainder", remainder, "__mod__", "__rmod__", "__imod__"},
    {"power", power, "__pow__", "__rpow__", "__ipow__"},
    {"bitwise_and", bitwise_and, "__and__", "__rand__", "__iand__"},
    {"bitwise_or", bitwise_or, "__or__", "__ror__", "__ior__"},
    {"bitwise_xor", bitwise_xor, "__xor__", "__rxor__", "__ixor__"},
    {"left_shift", left_shift, "__lshift__", "__rlshift__", "__ilshift__"},
    {"right_shift", right_shift, "__rshift__", "__rrshift__", "__irshift__"},
    {"less", less, "__lt__", nullptr, nullptr},
    {"less_equal", less_equal, "__le__", nullptr, nullptr},
    {"greater", greater, "__gt__", nullptr, nullptr},
    {"greater_equal", greater_equal, "__ge__", nullptr, nullptr},
};

void bind_array_operators(nb::module_&) {
  ArrayClass c = array_class();
  for (const OperatorNames& row : kArithmetic) {
    c.def(row.plain, BinaryOperator{row.op, row.apply}, "other"_a);
    if (row.reflected) {
      c.def(row.reflected, ReflectedOperator{row.op, row.apply}, "other"_a);
    }
    if (row.in_place) {
      c.def(row.in_place, InPlaceOperator{row.op, row.apply}, "other"_a, nb::rv_policy::none);
    }
  }
  c.def("__itruediv__", &divide_in_place, "other"_a, nb::rv_policy::none);
  c.def(
      "__eq__",
      EqualityOperator{"equal", equal, false},
      "other"_a.none(),
      nb::sig("def __eq__(self, other: object, /) -> array | bool"));
  c.def(
      "__ne__",
      EqualityOperator{"not_equal", not_equal, true},
      "other"_a.none(),
      nb::sig("def __ne__(self, other: object, /) -> array | bool"));
  c.def(
      "__matmul__", [](const array& a, const array& b) { return matmul(a, b); }, "other"_a);
  c.def(
      "__imatmul__",
      [](array& a, const array& b) -> array& { return a = matmul(a, b); },
      "other"_a,
      nb::rv_policy::none);
  c.def("__neg__", [](const array& a) { return negative(a); });
  c.def("__pos__", [](const array& a) { return a; });
  c.def("__abs__", [](const array& a) { return abs(a); });
  c.def("__invert__", [](const array& a) { return bitwise_invert(a); });
}

const Binding binding{&bind_array_operators};

} // namespace
} // namespace narrows::python
