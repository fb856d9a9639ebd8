#include "narrows/ops/scan.h"

#include <nanobind/stl/optional.h>

#include "bindings/arguments.h"
#include "bindings/method.h"
#include "narrows/ops/softmax.h"

namespace narrows::python {
namespace {

using Scan = array (*)(const array&, std::optional<int>, bool, bool, StreamOrDevice);
using TypedScan =
    array (*)(const array&, std::optional<int>, bool, bool, std::optional<Dtype>, StreamOrDevice);

void bind_scan(nb::module_& m, ArrayClass& c, const char* name, Scan apply, const char* doc) {
  def_both(
      m,
      c,
      name,
      doc,
      [apply](
          const array& a,
          std::optional<int> axis,
          bool reverse,
          bool inclusive,
          const StreamArg& s) { return apply(a, axis, reverse, inclusive, s); },
      "axis"_a = nb::none(),
      nb::kw_only(),
      "reverse"_a = false,
      "inclusive"_a = true);
}

void bind_scan(nb::module_& m, ArrayClass& c, const char* name, TypedScan apply, const char* doc) {
  def_both(
      m,
      c,
      name,
      doc,
      [apply](
          const array& a,
          std::optional<int> axis,
          bool reverse,
          bool inclusive,
          std::optional<Dtype> dtype,
          const StreamArg& s) { return apply(a, axis, reverse, inclusive, dtype, s); },
      "axis"_a = nb::none(),
      nb::kw_only(),
      "reverse"_a = false,
      "inclusive"_a = true,
      "dtype"_a = nb::none());
}

void bind_scans(nb::module_& m) {
  ArrayClass c = array_class();
  bind_scan(
      m,
      c,
      "cumsum",
      cumsum,
      "Running sums along `axis`, or over the flattened array; from the end if `reverse`, without "
      "the element itself if not `inclusive`. In `dtype` if given; bool is summed as int32.");
  bind_scan(
      m,
      c,
      "cumprod",
      cumprod,
      "Running products along `axis`, or over the flattened array; see cumsum().");
  bind_scan(
      m,
      c,
      "cummax",
      cummax,
      "Largest element so far along `axis`, or over the flattened array; see cumsum().");
  bind_scan(
      m,
      c,
      "cummin",
      cummin,
      "Smallest element so far along `axis`, or over the flattened array; see cumsum().");
  bind_scan(
      m,
      c,
      "logcumsumexp",
      logcumsumexp,
      "Logarithm of the running sum of exponentials; see cumsum().");
  m.attr("cumulative_sum") = m.attr("cumsum");
  m.attr("cumulative_prod") = m.attr("cumprod");
  def_both(
      m,
      c,
      "logsumexp",
      "log(sum(exp(a))) over all elements, or along `axis`, without overflow; float32 for "
      "integers and bool.",
      [](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return logsumexp(a, axis.optional(), keepdims, s);
      },
      "axis"_a = nb::none(),
      "keepdims"_a = false,
      nb::kw_only());
  m.def(
      "softmax",
      [](const array& a, const AxesArg& axis, bool precise, const StreamArg& s) {
        return softmax(a, axis.optional(), precise, s);
      },
      "a"_a,
      "axis"_a = nb::none(),
      nb::kw_only(),
      "precise"_a = false,
      "stream"_a = nb::none(),
      "exp(a) / sum(exp(a)) over all elements, or along `axis`, without overflow; float32 for "
      "integers and bool. Always computed in float32 or better.");
}

const Binding binding{&bind_scans};

} // namespace
} // namespace narrows::python
