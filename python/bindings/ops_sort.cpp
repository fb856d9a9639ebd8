#include "narrows/ops/sort.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/ops/search.h"

namespace narrows::python {
namespace {

using Sorting = array (*)(const array&, std::optional<int>, StreamOrDevice);
using Selecting = array (*)(const array&, int64_t, std::optional<int>, StreamOrDevice);

auto sorting(Sorting apply) {
  return [apply](const array& a, std::optional<int> axis, const StreamArg& s) {
    return apply(a, axis, s);
  };
}

auto selecting(Selecting apply) {
  return [apply](const array& a, int64_t k, std::optional<int> axis, const StreamArg& s) {
    return apply(a, k, axis, s);
  };
}

void bind_sorts(nb::module_& m) {
  define<"sort(a: array, /, axis: None | int = -1, *, stream: StreamOrDevice = None) -> array">(
      m,
      sorting(sort),
      R"(The elements in ascending order.

      Equal elements stay in their order. NaN comes last, 0.0 and -0.0 are equal, and complex numbers
      are ordered by their real parts, then by their imaginary ones.

      Args:
        a: An array of any dtype.
        axis: The axis that is sorted along; None sorts the flattened array.

      Returns:
        The shape of `a`, or one dimension if `axis` is None; of a's dtype.

      Raises:
        IndexError: If the axis is out of range.

      Example:
        >>> mx.sort(mx.array([[3, 1, 2], [6, 5, 4]]))
        array([[1, 2, 3],
               [4, 5, 6]], dtype=int32)
      )");
  define<"argsort(a: array, /, axis: None | int = -1, *, stream: StreamOrDevice = None) -> array">(
      m,
      sorting(argsort),
      R"(The places of the elements in ascending order, as sort() has it.

      Args:
        a: An array of any dtype.
        axis: The axis that is sorted along; None sorts the flattened array.

      Returns:
        uint32 of the shape of `a`, or of one dimension if `axis` is None.

      Raises:
        IndexError: If the axis is out of range.

      Example:
        >>> mx.argsort(mx.array([3, 1, 2]))
        array([1, 2, 0], dtype=uint32)
      )");
}

void bind_selections(nb::module_& m) {
  define<
      "partition(a: array, /, kth: int, axis: None | int = -1, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      selecting(partition),
      R"(The elements with one of them where sorting puts it.

      None before it is larger, none after it is smaller; nothing else is said of the order. It is
      faster than sort().

      Args:
        a: An array of any dtype.
        kth: The element that gets its place. A negative one counts from the end.
        axis: The axis; None partitions the flattened array.

      Returns:
        The shape of `a`, or one dimension if `axis` is None; of a's dtype.

      Raises:
        IndexError: If the axis is out of range.
        ValueError: If there is no element `kth`.

      Example:
        >>> mx.partition(mx.array([5, 1, 4, 2, 3]), 2)[2]
        array(3, dtype=int32)
      )");
  define<
      "argpartition(a: array, /, kth: int, axis: None | int = -1, *, stream: StreamOrDevice = "
      "None) -> array">(
      m,
      selecting(argpartition),
      R"(The places of the elements in an order as partition() has it.

      Args:
        a: An array of any dtype.
        kth: The element that gets its place. A negative one counts from the end.
        axis: The axis; None partitions the flattened array.

      Returns:
        uint32 of the shape of `a`, or of one dimension if `axis` is None.

      Raises:
        IndexError: If the axis is out of range.
        ValueError: If there is no element `kth`.

      Example:
        >>> mx.argpartition(mx.array([5, 1, 4, 2, 3]), 2)[2]
        array(4, dtype=uint32)
      )");
  define<
      "topk(a: array, /, k: int, axis: None | int = -1, *, stream: StreamOrDevice = None) -> "
      "array">(
      m,
      selecting(topk),
      R"(The k largest elements, in any order. NaN counts as larger than all numbers.

      Args:
        a: An array of any dtype.
        k: How many.
        axis: The axis; None selects from the flattened array.

      Returns:
        An array of a's dtype whose size along the axis is `k`.

      Raises:
        IndexError: If the axis is out of range.
        ValueError: If there are not so many elements.

      Example:
        >>> mx.sort(mx.topk(mx.array([5, 1, 4, 2, 3]), 2))
        array([4, 5], dtype=int32)
      )");
  define<
      "median(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const AxesArg& axes, bool keepdims, const StreamArg& s) {
        return median(a, axes.optional(), keepdims, s);
      },
      R"(The middle one of the sorted elements; of an even number the mean of the two in the middle.

      Args:
        a: An array of any dtype.
        axis: The axis or axes that are reduced; None reduces all.
        keepdims: Whether reduced axes stay, with size 1.

      Returns:
        a's dtype if that is floating point or complex, else float32. NaN where an element is.

      Raises:
        IndexError: If an axis is out of range.
        ValueError: If there are no elements, or an axis is repeated.

      Example:
        >>> mx.median(mx.array([[1, 9, 2], [4, 3, 8]]), axis=1)
        array([2, 4], dtype=float32)
      )");
}

bool is_right(const std::string& side) {
  if (side != "left" && side != "right") {
    fail<ValueError>("[searchsorted] side '", side, "', expected 'left' or 'right'.");
  }
  return side == "right";
}

nb::object unique_arrays(
    const array& a,
    int64_t size,
    bool return_index,
    bool return_inverse,
    bool return_counts,
    nb::handle fill_value,
    const StreamArg& s) {
  std::optional<array> fill;
  if (!fill_value.is_none()) {
    fill = to_operand_beside("unique", fill_value, a.dtype());
  }
  const UniqueElements found = unique(a, size, fill, s);
  nb::list arrays;
  arrays.append(found.values);
  if (return_index) {
    arrays.append(found.index);
  }
  if (return_inverse) {
    arrays.append(found.inverse);
  }
  if (return_counts) {
    arrays.append(found.counts);
  }
  return arrays.size() == 1 ? nb::object(arrays[0]) : nb::object(nb::tuple(arrays));
}

void bind_searches(nb::module_& m) {
  define<
      "searchsorted(sorted_sequence: array, values: array, /, side: str = 'left', *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& sorted, const array& values, const std::string& side, const StreamArg& s) {
        return searchsorted(sorted, values, is_right(side), s);
      },
      R"(Where values would have to be inserted into a sorted array.

      Args:
        sorted_sequence: An array of one dimension in ascending order.
        values: An array of any shape. Both are compared in their common dtype.
        side: Whether a value goes to the left or to the right of elements that are equal.

      Returns:
        uint32 of the shape of `values`: how many elements come before each value.

      Raises:
        ValueError: If the sorted array has not one dimension, or for other sides.

      Example:
        >>> a = mx.array([1, 2, 2, 4])
        >>> mx.searchsorted(a, mx.array([0, 2, 5]))
        array([0, 1, 4], dtype=uint32)
        >>> mx.searchsorted(a, mx.array([0, 2, 5]), side="right")
        array([0, 3, 4], dtype=uint32)
      )");
  define<
      "unique(a: array, /, size: int, return_index: bool = False, return_inverse: bool = False, "
      "return_counts: bool = False, fill_value: scalar | array | None = None, *, "
      "stream: StreamOrDevice = None) -> array | tuple[array, ...]">(
      m,
      &unique_arrays,
      R"(The different elements of the flattened array in ascending order.

      The shape of the result must not depend on values, so the caller gives the size: where there are
      more different elements the smallest stay, and where there are fewer the rest is filled. NaN is
      not equal to NaN.

      Args:
        a: An array of any dtype.
        size: How many elements the result has.
        return_index: Whether to return where the first of each is in the flattened array, too.
        return_inverse: Whether to return where each element of `a` is in the result, too. What is not
          in it is counted as its last element.
        return_counts: Whether to return how often each element is there, too.
        fill_value: What the result is filled with; None repeats its first element.

      Returns:
        The elements (size,), of a's dtype; if more is asked for, a tuple of them and what was asked
        for, in the order of the arguments: index, uint32 (size,); inverse, uint32 of the shape of `a`;
        counts, int32 (size,), 0 for what was filled.

      Raises:
        ValueError: If the size is negative, the fill value has not one element, or an empty array
          has none.

      Example:
        >>> a = mx.array([2, 1, 2, 3, 1])
        >>> mx.unique(a, 3)
        array([1, 2, 3], dtype=int32)
        >>> values, counts = mx.unique(a, 4, return_counts=True, fill_value=0)
        >>> values, counts
        (array([1, 2, 3, 0], dtype=int32), array([2, 2, 1, 0], dtype=int32))
      )");
}

void bind_sort(nb::module_& m) {
  bind_sorts(m);
  bind_selections(m);
  bind_searches(m);
}

const Binding binding{&bind_sort};

} // namespace
} // namespace narrows::python
