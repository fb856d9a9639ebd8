#include "narrows/ops/join.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
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

void bind_lists(nb::module_& m) {
  define<
      "concatenate(arrays: list[array], axis: int | None = 0, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const std::vector<array>& arrays, std::optional<int> axis, const StreamArg& s) {
        return concatenate(arrays, axis, s);
      },
      R"(Arrays one after another.

      Args:
        arrays: The arrays, of one shape but for `axis`.
        axis: The dimension along which they follow each other; None flattens them before.

      Returns:
        An array of their common dtype.

      Raises:
        ValueError: If other dimensions differ, or there are no arrays.

      Example:
        >>> mx.concatenate([mx.array([1, 2]), mx.array([3])])
        array([1, 2, 3], dtype=int32)
      )");
  m.attr("concat") = m.attr("concatenate");
  define<
      "stack(arrays: list[array], axis: int | None = 0, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const std::vector<array>& arrays, std::optional<int> axis, const StreamArg& s) {
        return stack(arrays, axis.value_or(0), s);
      },
      R"(Arrays side by side along a new dimension.

      Args:
        arrays: The arrays, of one shape.
        axis: Where the new dimension is in the result; None is 0.

      Returns:
        An array of their common dtype.

      Raises:
        ValueError: If the shapes differ, or there are no arrays.

      Example:
        >>> mx.stack([mx.array([1, 2]), mx.array([3, 4])], axis=1)
        array([[1, 3],
               [2, 4]], dtype=int32)
      )");
}

void bind_repeats(nb::module_& m) {
  define<
      "repeat(array: array, repeats: int, axis: int | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int64_t repeats, std::optional<int> axis, const StreamArg& s) {
        return repeat(a, repeats, axis, s);
      },
      R"(Every element several times.

      Args:
        array: An array.
        repeats: How often each element comes.
        axis: The axis along which it comes again; None flattens the array before.

      Returns:
        An array of the same dtype.

      Raises:
        ValueError: If `repeats` is negative.

      Example:
        >>> mx.repeat(mx.array([1, 2]), 2)
        array([1, 1, 2, 2], dtype=int32)
      )");
  define<"tile(a: array, reps: int | Sequence[int], /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const ShapeOrInt& reps, const StreamArg& s) {
        return tile(a, reps.shape, s);
      },
      R"(The array as a whole several times.

      Args:
        a: An array.
        reps: How often it comes along each dimension; the last number is for the last dimension.

      Returns:
        An array of the same dtype.

      Raises:
        ValueError: If a number is negative.

      Example:
        >>> mx.tile(mx.array([1, 2]), 2)
        array([1, 2, 1, 2], dtype=int32)
      )");
  define<
      "roll(a: array, shift: int | tuple[int], axis: None | int | tuple[int] = None, /, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &roll_by,
      R"(The elements moved up cyclically.

      Args:
        a: An array.
        shift: By how many places; one number, or one for each axis.
        axis: The axis or axes along which they move; None moves them in the flattened array.

      Returns:
        The shape and the dtype of `a`.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.roll(mx.array([1, 2, 3, 4]), 1)
        array([4, 1, 2, 3], dtype=int32)
      )");
}

void bind_join(nb::module_& m) {
  bind_lists(m);
  bind_repeats(m);
  define<
      "pad(a: array, pad_width: int | tuple[int] | tuple[int, int] | list[tuple[int, int]], "
      "mode: typing.Literal['constant', 'edge', 'reflect', 'symmetric'] = 'constant', "
      "constant_values: scalar | array | ArrayLike = 0, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a,
         nb::handle pad_width,
         const std::string& mode,
         ScalarOrArray value,
         const StreamArg& s) {
        return pad(
            a, read_widths(pad_width), mode, to_operand_beside("pad", value.object, a.dtype()), s);
      },
      R"(More elements before and after those of each dimension.

      Args:
        a: An array.
        pad_width: How many elements: a number, a pair (before, after), or a list with such a pair
          for each dimension.
        mode: What they are. 'constant': `constant_values`. 'edge': the nearest element. 'reflect':
          the array mirrored without its edge. 'symmetric': the array mirrored with its edge.
        constant_values: The value for the mode 'constant'.

      Returns:
        An array of the same dtype.

      Raises:
        ValueError: For negative widths and other modes.

      Example:
        >>> mx.pad(mx.array([1, 2]), (1, 2))
        array([0, 1, 2, 0, 0], dtype=int32)
        >>> mx.pad(mx.array([1, 2, 3]), (0, 2), mode="reflect")
        array([1, 2, 3, 2, 1], dtype=int32)
      )");
}

const Binding binding{&bind_join};

} // namespace
} // namespace narrows::python
