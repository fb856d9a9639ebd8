#include "narrows/ops/join.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "narrows/ops/pad.h"

namespace narrows::python {
namespace {

using Widths = std::vector<std::pair<int64_t, int64_t>>;

[[noreturn]] void fail_widths() {
  fail<TypeError>("[pad] pad_width, expected an integer, a pair, or one pair for each dimension.");
}

// n, (n,), (before, after), or a sequence of such for each dimension.
Widths read_widths(nb::handle object) {
  int64_t width = 0;
  Shape pair;
  if (detail::read_integer(object.ptr(), width)) {
    return {{width, width}};
  }
  if (detail::read_integers(object.ptr(), pair)) {
    if (pair.empty() || pair.size() > 2) {
      fail_widths();
    }
    return {{pair[0], pair.back()}};
  }
  if (!PySequence_Check(object.ptr()) || PyUnicode_Check(object.ptr())) {
    fail_widths();
  }
  Widths widths;
  for (nb::handle item : nb::borrow(object)) {
    const Widths one = read_widths(item);
    if (one.size() != 1) {
      fail_widths();
    }
    widths.push_back(one[0]);
  }
  return widths;
}

array roll_by(const array& a, const ShapeOrInt& shift, const AxesArg& axis, const StreamArg& s) {
  return axis.kind == AxesArg::Kind::none ? roll(a, shift.shape, s)
                                          : roll(a, shift.shape, axis.axes, s);
}

void bind_join(nb::module_& m) {
  m.def(
      "concatenate",
      [](const std::vector<array>& arrays, std::optional<int> axis, const StreamArg& s) {
        return concatenate(arrays, axis, s);
      },
      "arrays"_a,
      "axis"_a.none() = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The arrays one after another along `axis`, or flattened if that is None, in their common "
      "dtype. ValueError if other dimensions differ or there are no arrays.");
  m.attr("concat") = m.attr("concatenate");
  m.def(
      "stack",
      [](const std::vector<array>& arrays, std::optional<int> axis, const StreamArg& s) {
        return stack(arrays, axis.value_or(0), s);
      },
      "arrays"_a,
      "axis"_a.none() = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The arrays side by side along a new dimension `axis`, in their common dtype. ValueError if "
      "shapes differ or there are no arrays.");
  m.def(
      "repeat",
      [](const array& a, int64_t repeats, std::optional<int> axis, const StreamArg& s) {
        return repeat(a, repeats, axis, s);
      },
      "array"_a,
      "repeats"_a,
      "axis"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Every element `repeats` times along `axis`, or of the flattened array. ValueError if "
      "`repeats` is negative.");
  m.def(
      "tile",
      [](const array& a, const ShapeOrInt& reps, const StreamArg& s) {
        return tile(a, reps.shape, s);
      },
      "a"_a,
      "reps"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "`a` as a whole reps[i] times along dimension i. ValueError if one is negative.");
  m.def(
      "roll",
      &roll_by,
      "a"_a,
      "shift"_a,
      "axis"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The elements moved up cyclically by `shift` along `axis`, or over the flattened array.");
  m.def(
      "pad",
      [](const array& a,
         nb::handle pad_width,
         const std::string& mode,
         ScalarOrArray value,
         const StreamArg& s) {
        return pad(
            a, read_widths(pad_width), mode, to_operand_beside("pad", value.object, a.dtype()), s);
      },
      "a"_a,
      "pad_width"_a,
      "mode"_a = "constant",
      "constant_values"_a = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def pad(a: array, pad_width: int | tuple[int] | tuple[int, int] | list[tuple[int, "
              "int]], mode: str = 'constant', constant_values: bool | int | float | complex | "
              "array | ArrayLike = 0, *, stream: Stream | ThreadLocalStream | Device | DeviceType "
              "| None = None) -> array"),
      "More elements before and after those of each dimension: `constant_values`, or the edge "
      "('edge'), or `a` mirrored ('reflect', 'symmetric'). ValueError for negative widths or "
      "another mode.");
}

const Binding binding{&bind_join};

} // namespace
} // namespace narrows::python
