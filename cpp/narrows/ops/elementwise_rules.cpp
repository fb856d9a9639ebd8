#include "narrows/ops/elementwise_rules.h"

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"

namespace narrows {
namespace {

// An array in an expression of the table. Operators record on its stream, and convert numbers to
// its dtype.
struct Term {
  array value;
  Stream stream;
};
using Change = std::optional<Term>;
constexpr std::nullopt_t none = std::nullopt;

Term number(double value, const Term& like) {
  return {narrows::number(value, like.value.dtype()), like.stream};
}

#define NARROWS_TERM_1(name)                             \
  [[maybe_unused]] Term name(const Term& a) {            \
    return {narrows::name(a.value, a.stream), a.stream}; \
  }
#define NARROWS_TERM_2(name)                                      \
  [[maybe_unused]] Term name(const Term& a, const Term& b) {      \
    return {narrows::name(a.value, b.value, a.stream), a.stream}; \
  }
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  NARROWS_TERM_##arity(name)
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
#undef NARROWS_TERM_1
#undef NARROWS_TERM_2

#define NARROWS_OPERATOR(symbol, function)                              \
  [[maybe_unused]] Term operator symbol(const Term& a, const Term& b) { \
    return function(a, b);                                              \
  }                                                                     \
  [[maybe_unused]] Term operator symbol(const Term& a, double b) {      \
    return function(a, number(b, a));                                   \
  }                                                                     \
  [[maybe_unused]] Term operator symbol(double a, const Term& b) {      \
    return function(number(a, b), b);                                   \
  }
NARROWS_OPERATOR(+, add)
NARROWS_OPERATOR(-, subtract)
NARROWS_OPERATOR(*, multiply)
NARROWS_OPERATOR(/, divide)
NARROWS_OPERATOR(<, less)
NARROWS_OPERATOR(>, greater)
NARROWS_OPERATOR(<=, less_equal)
NARROWS_OPERATOR(>=, greater_equal)
NARROWS_OPERATOR(!=, not_equal)
#undef NARROWS_OPERATOR

// A bool only tells whether there is a change. A sign does not alter that.
Term operator-(const Term& a) {
  return a.value.dtype() == bool_ ? a : negative(a);
}

// `g` where the condition holds, else zero.
Term choose(const Term& condition, const Term& g) {
  return {where(condition.value, g.value, number(0, g).value, g.stream), g.stream};
}

// i * g; nothing for real numbers.
Change imaginary_unit(const Term& g) {
  if (!is_complex(g.value.dtype())) {
    return none;
  }
  const array i = array(Scalar::of(complex64_t{0, 1}, complex64));
  return multiply(Term{i, g.stream}, g);
}

Change change(
    ElementwiseOp op,
    bool first,
    const Term& g,
    [[maybe_unused]] const Term& a,
    [[maybe_unused]] const Term& b,
    [[maybe_unused]] const Term& y) {
  switch (op) {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  case ElementwiseOp::name:                                                           \
    if (first) {                                                                      \
      return da;                                                                      \
    }                                                                                 \
    return db;
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
  }
  return none;
}

} // namespace

array elementwise_change(
    ElementwiseOp op,
    size_t i,
    const array& g,
    std::span<const array> operands,
    const array& result,
    Stream stream) {
  const Term a{operands[0], stream};
  const Term b{operands.back(), stream};
  const Change found = change(op, i == 0, {g, stream}, a, b, {result, stream});
  return found ? found->value : array();
}

} // namespace narrows
