#include "narrows/ops/matmul.h"

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "narrows/ops/tensordot.h"

namespace narrows::python {
namespace {

using Product = array (*)(const array&, const array&, StreamOrDevice);

void bind_product(nb::module_& m, const char* name, Product apply, const char* doc) {
  m.def(
      name,
      [apply](const array& a, const array& b, const StreamArg& s) { return apply(a, b, s); },
      "a"_a,
      "a"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      doc);
}

// axes: a number, or two sequences of dimensions to pair.
array contract(const array& a, const array& b, nb::handle axes, const StreamArg& s) {
  int count = 0;
  if (detail::read_integer(axes.ptr(), count)) {
    return tensordot(a, b, count, s);
  }
  Axes of_a, of_b;
  if (!PySequence_Check(axes.ptr()) || nb::len(axes) != 2 ||
      !detail::read_integers(nb::object(axes[0]).ptr(), of_a) ||
      !detail::read_integers(nb::object(axes[1]).ptr(), of_b)) {
    fail<TypeError>("[tensordot] axes, expected an integer or two sequences of integers.");
  }
  return tensordot(a, b, of_a, of_b, s);
}

void bind_matmul(nb::module_& m) {
  bind_product(
      m,
      "matmul",
      matmul,
      "(..., m, k) @ (..., k, n) -> (..., m, n); leading dimensions broadcast, a vector is a row "
      "on the left and a column on the right. ValueError for scalars, integers and shapes that do "
      "not match.");
  bind_product(
      m,
      "inner",
      inner,
      "(..., k), (..., k) -> a.shape[:-1] + b.shape[:-1]: sums over the last dimensions.");
  bind_product(m, "outer", outer, "(a.size, b.size): the product of each pair of elements.");
  m.def(
      "kron",
      [](const array& a, const array& b, const StreamArg& s) { return kron(a, b, s); },
      "a"_a,
      "b"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Kronecker product: dimension i has size a.shape[i] * b.shape[i].");
  m.def(
      "addmm",
      [](const array& c,
         const array& a,
         const array& b,
         double alpha,
         double beta,
         const StreamArg& s) { return addmm(c, a, b, alpha, beta, s); },
      "a"_a,
      "a"_a,
      "a"_a,
      "alpha"_a = 1.0,
      "beta"_a = 1.0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig(
          "def addmm(c: array, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, "
          "stream: Stream | ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "alpha * (a @ b) + beta * c, where `c` broadcasts. ValueError as matmul().");
  m.def(
      "vecdot",
      [](const array& a, const array& b, int axis, const StreamArg& s) {
        return vecdot(a, b, axis, s);
      },
      "a"_a,
      "a"_a,
      nb::kw_only(),
      "axis"_a = -1,
      "stream"_a = nb::none(),
      "Sum of conjugate(a) * b along `axis`, other dimensions broadcast.");
  m.def(
      "tensordot",
      &contract,
      "a"_a,
      "a"_a,
      "axes"_a = 2,
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig(
          "def tensordot(a: array, b: array, /, axes: int | list[collections.abc.Sequence[int]] = "
          "2, *, stream: Stream | ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "Sum over the last `axes` dimensions of `a` and the first of `b`, or over two lists of "
      "dimensions paired. ValueError if the sizes of a pair differ.");
}

const Binding binding{&bind_matmul};

} // namespace
} // namespace narrows::python
