#include "narrows/ops/reduce.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include "bindings/arguments.h"
#include "bindings/method.h"

namespace narrows::python {
namespace {

using Reduction = array (*)(const array&, const OptionalAxes&, bool, StreamOrDevice);
using ArgReduction = array (*)(const array&, std::optional<int>, bool, StreamOrDevice);
using Moment = array (*)(const array&, const OptionalAxes&, bool, int, StreamOrDevice);

void bind_reduction(
    nb::module_& m, ArrayClass& c, const char* name, Reduction apply, const char* doc) {
  def_both(
      m,
      c,
      name,
      doc,
      [apply](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return apply(a, axis.optional(), keepdims, s);
      },
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      nb::kw_only());
}

void bind_arg_reduction(
    nb::module_& m, ArrayClass& c, const char* name, ArgReduction apply, const char* doc) {
  def_both(
      m,
      c,
      name,
      doc,
      [apply](const array& a, std::optional<int> axis, bool keepdims, const StreamArg& s) {
        return apply(a, axis, keepdims, s);
      },
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      nb::kw_only());
}

// `correction` is the array API's name for ddof.
void bind_moment(nb::module_& m, ArrayClass& c, const char* name, Moment apply, const char* doc) {
  def_both(
      m,
      c,
      name,
      doc,
      [apply](
          const array& a,
          const AxesArg& axis,
          bool keepdims,
          int ddof,
          std::optional<int> correction,
          const StreamArg& s) {
        return apply(a, axis.optional(), keepdims, correction.value_or(ddof), s);
      },
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      "ddof"_a = 0,
      nb::kw_only(),
      "correction"_a = nb::none());
}

void bind_reduce(nb::module_& m) {
  ArrayClass c = array_class();
  bind_reduction(
      m,
      c,
      "sum",
      sum,
      "Sum over all elements, or along `axis`; small integers and bool are summed as 32-bit "
      "integers. Reduced dimensions stay with size 1 if `keepdims`.");
  bind_reduction(
      m,
      c,
      "prod",
      prod,
      "Product over all elements, or along `axis`; small integers and bool are multiplied as "
      "32-bit integers. Reduced dimensions stay with size 1 if `keepdims`.");
  bind_reduction(
      m,
      c,
      "min",
      min,
      "Smallest element of all, or along `axis`; NaN if there is one. ValueError if there are no "
      "elements.");
  bind_reduction(
      m,
      c,
      "max",
      max,
      "Largest element of all, or along `axis`; NaN if there is one. ValueError if there are no "
      "elements.");
  bind_reduction(
      m, c, "all", all, "Whether all elements are nonzero, altogether or along `axis`; bool.");
  bind_reduction(
      m, c, "any", any, "Whether any element is nonzero, altogether or along `axis`; bool.");
  bind_reduction(
      m, c, "mean", mean, "Mean of all elements, or along `axis`; float32 for integers and bool.");
  bind_moment(
      m,
      c,
      "var",
      var,
      "Variance of all elements, or along `axis`; the sum of squares over n elements is divided "
      "by n - ddof.");
  bind_moment(
      m,
      c,
      "std",
      narrows::std,
      "Standard deviation of all elements, or along `axis`; the sum of squares over n elements "
      "is divided by n - ddof.");
  bind_arg_reduction(
      m,
      c,
      "argmin",
      argmin,
      "Index (uint32) of the first smallest element along `axis`, or in row-major order of the "
      "whole array. ValueError if there are no elements.");
  bind_arg_reduction(
      m,
      c,
      "argmax",
      argmax,
      "Index (uint32) of the first largest element along `axis`, or in row-major order of the "
      "whole array. ValueError if there are no elements.");
  m.def(
      "minmax",
      [](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return minmax(a, axis.optional(), keepdims, s);
      },
      "a"_a,
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The smallest and the largest element; see min() and max().");
  m.def(
      "count_nonzero",
      [](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return count_nonzero(a, axis.optional(), keepdims, s);
      },
      "a"_a,
      nb::kw_only(),
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      "stream"_a = nb::none(),
      "How many elements are nonzero, altogether or along `axis`; int32.");
}

const Binding binding{&bind_reduce};

} // namespace
} // namespace narrows::python
