#include "narrows/ops/shape.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/method.h"
#include "narrows/core/errors.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows::python {
namespace {

// The integers of f(1, 2), f((1, 2)) or f([1, 2]).
template <typename Integers>
Integers unpack(const char* op, const nb::args& arguments) {
  Integers result;
  nb::object source = arguments;
  if (arguments.size() == 1 && !PyIndex_Check(nb::object(arguments[0]).ptr())) {
    source = arguments[0];
  }
  if (!detail::read_integers(source.ptr(), result)) {
    detail::refuse_too_large(source.ptr());
    fail<TypeError>("[", op, "] expected integers or one sequence of integers.");
  }
  return result;
}

array squeeze_axes(const array& a, const AxesArg& axis, const StreamArg& s) {
  return axis.kind == AxesArg::Kind::none ? squeeze(a, s) : squeeze(a, axis.axes, s);
}

array transpose_axes(const array& a, const std::optional<Axes>& axes, const StreamArg& s) {
  return axes ? transpose(a, *axes, s) : transpose(a, s);
}

std::vector<array> split_at(
    const array& a, nb::handle indices_or_sections, int axis, const StreamArg& s) {
  int64_t sections = 0;
  Shape indices;
  if (detail::read_integer(indices_or_sections.ptr(), sections)) {
    return split(a, sections, axis, s);
  }
  if (!detail::read_integers(indices_or_sections.ptr(), indices)) {
    fail<TypeError>("[split] expected an integer or a sequence of integers.");
  }
  return split(a, std::vector<int64_t>(indices.begin(), indices.end()), axis, s);
}

std::vector<array> arrays_of(const char* op, const nb::args& arguments) {
  std::vector<array> arrays;
  for (nb::handle item : arguments) {
    arrays.push_back(to_operand(op, item));
  }
  return arrays;
}

using AtLeast = array (*)(const array&, StreamOrDevice);

void bind_at_least(nb::module_& m, const char* name, AtLeast apply, const char* doc) {
  m.def(
      name,
      [name, apply](const nb::args& arrays, const StreamArg& s) -> nb::object {
        std::vector<array> results;
        for (const array& a : arrays_of(name, arrays)) {
          results.push_back(apply(a, s));
        }
        return results.size() == 1 ? nb::cast(results[0]) : nb::cast(results);
      },
      "arys"_a,
      "stream"_a = nb::none(),
      nb::sig(concat_message(
                  "def ",
                  name,
                  "(*arys: array, stream: Stream | ThreadLocalStream | Device | DeviceType | None "
                  "= None) -> array | list[array]")
                  .c_str()),
      doc);
}

void bind_reshapes(nb::module_& m, ArrayClass& c) {
  m.def(
      "reshape",
      [](const array& a, const Shape& shape, const StreamArg& s) { return reshape(a, shape, s); },
      "a"_a,
      "shape"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The elements in row-major order with another shape, of which one dimension may be -1. "
      "Copies only where no view can have that shape. ValueError if the sizes differ.");
  c.def(
      "reshape",
      [](const array& a, const nb::args& shape, const StreamArg& s) {
        return reshape(a, unpack<Shape>("reshape", shape), s);
      },
      "shape"_a,
      "stream"_a = nb::none(),
      nb::sig("def reshape(self, *shape: int | collections.abc.Sequence[int], stream: Stream | "
              "ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "See narrows.core.reshape(); takes integers or one sequence of them.");
  def_both(
      m,
      c,
      "flatten",
      "Dimensions `start_axis` to `end_axis` (inclusive) merged into one. ValueError if they are "
      "in the wrong order.",
      [](const array& a, int start, int end, const StreamArg& s) {
        return flatten(a, start, end, s);
      },
      "start_axis"_a = 0,
      "end_axis"_a = -1,
      nb::kw_only());
  m.def(
      "unflatten",
      [](const array& a, int axis, const Shape& shape, const StreamArg& s) {
        return unflatten(a, axis, shape, s);
      },
      "a"_a,
      "axis"_a,
      "shape"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Dimension `axis` split into `shape`, of which one may be -1. ValueError if the sizes "
      "differ.");
  def_both(
      m,
      c,
      "squeeze",
      "Without all dimensions of size 1, or without those in `axis`. ValueError if one of these "
      "has another size.",
      &squeeze_axes,
      "axis"_a = nb::none(),
      nb::kw_only());
  m.def(
      "expand_dims",
      [](const array& a, const AxesArg& axis, const StreamArg& s) {
        if (axis.kind == AxesArg::Kind::none) {
          fail<TypeError>("[expand_dims] axis is None, expected integers.");
        }
        return expand_dims(a, axis.axes, s);
      },
      "a"_a,
      "axis"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Dimensions of size 1 inserted so that they are `axis` of the result.");
  bind_at_least(m, "atleast_1d", atleast_1d, "Each array with at least one dimension.");
  bind_at_least(m, "atleast_2d", atleast_2d, "Each array with at least two dimensions.");
  bind_at_least(m, "atleast_3d", atleast_3d, "Each array with at least three dimensions.");
  m.def(
      "contiguous",
      [](const array& a, bool allow_col_major, const StreamArg& s) {
        return contiguous(a, allow_col_major, s);
      },
      "a"_a,
      "allow_col_major"_a = false,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The same elements in row-major (or, if allowed, column-major) memory order; a copy only if "
      "they are not.");
  m.def(
      "view",
      [](ScalarOrArray a, Dtype dtype, const StreamArg& s) {
        return view(to_operand("view", a.object), dtype, s);
      },
      "a"_a,
      "dtype"_a,
      "stream"_a = nb::none(),
      "The bytes of `a` read as another dtype; the last dimension scales with the item size. "
      "ValueError if it does not divide.");
  c.def(
      "view",
      [](const array& a, Dtype dtype, const StreamArg& s) { return view(a, dtype, s); },
      "dtype"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "See narrows.core.view().");
}

void bind_broadcasts(nb::module_& m) {
  m.def(
      "broadcast_to",
      [](ScalarOrArray a, const Shape& shape, const StreamArg& s) {
        return broadcast_to(to_operand("broadcast_to", a.object), shape, s);
      },
      "a"_a,
      "shape"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "`a` seen with a larger shape, without a copy. ValueError if it does not broadcast.");
  m.def(
      "broadcast_arrays",
      [](const nb::args& arrays, const StreamArg& s) {
        return broadcast_arrays(arrays_of("broadcast_arrays", arrays), s);
      },
      "arrays"_a,
      "stream"_a = nb::none(),
      nb::sig("def broadcast_arrays(*arrays: array, stream: Stream | ThreadLocalStream | Device | "
              "DeviceType | None = None) -> tuple[array, ...]"),
      "The arrays, all with the shape that they broadcast to.");
  m.def(
      "broadcast_shapes",
      [](const nb::args& shapes) {
        std::vector<Shape> all;
        for (nb::handle shape : shapes) {
          Shape& converted = all.emplace_back();
          if (!nb::try_cast(shape, converted)) {
            fail<TypeError>(
                "[broadcast_shapes] got ",
                nb::repr(shape).c_str(),
                ", expected sequences of ints.");
          }
        }
        return broadcast_shapes(all);
      },
      nb::sig("def broadcast_shapes(*shapes: collections.abc.Sequence[int]) -> tuple[int, ...]"),
      "The shape that all shapes broadcast to. ValueError if there is none.");
  m.def(
      "meshgrid",
      [](const nb::args& arrays, bool sparse, const std::string& indexing, const StreamArg& s) {
        return nb::tuple(nb::cast(meshgrid(arrays_of("meshgrid", arrays), sparse, indexing, s)));
      },
      "arrays"_a,
      "sparse"_a = false,
      "indexing"_a = "xy",
      "stream"_a = nb::none(),
      nb::sig(
          "def meshgrid(*arrays: array, sparse: bool = False, indexing: str = 'xy', stream: Stream "
          "| ThreadLocalStream | Device | DeviceType | None = None) -> tuple[array, ...]"),
      "Coordinates of a grid: output i varies along one dimension as arrays[i] does. `indexing` "
      "is 'xy' (the first array along dimension 1) or 'ij'; sparse outputs have size 1 in the "
      "other dimensions.");
}

void bind_axes(nb::module_& m, ArrayClass& c) {
  m.def(
      "transpose",
      &transpose_axes,
      "a"_a,
      "axes"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The dimensions reversed, or in the order of `axes`; a view. ValueError unless `axes` are "
      "all axes, each once.");
  m.attr("permute_dims") = m.attr("transpose");
  c.def(
      "transpose",
      [](const array& a, const nb::args& axes, const StreamArg& s) {
        const bool all = axes.size() == 0 || (axes.size() == 1 && axes[0].is_none());
        return all ? transpose(a, s) : transpose(a, unpack<Axes>("transpose", axes), s);
      },
      "axes"_a,
      "stream"_a = nb::none(),
      nb::sig("def transpose(self, *axes: int | collections.abc.Sequence[int], stream: Stream | "
              "ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "See narrows.core.transpose(); takes integers or one sequence of them.");
  def_both(
      m,
      c,
      "swapaxes",
      "Two dimensions exchanged; a view.",
      [](const array& a, int axis1, int axis2, const StreamArg& s) {
        return swapaxes(a, axis1, axis2, s);
      },
      "axis1"_a,
      "axis2"_a,
      nb::kw_only());
  def_both(
      m,
      c,
      "moveaxis",
      "Dimension `source` moved to `destination`; a view.",
      [](const array& a, int source, int destination, const StreamArg& s) {
        return moveaxis(a, source, destination, s);
      },
      "source"_a,
      "destination"_a,
      nb::kw_only());
  m.def(
      "matrix_transpose",
      [](const array& a, const StreamArg& s) { return matrix_transpose(a, s); },
      "a"_a,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The last two dimensions exchanged; a view. ValueError if there are fewer.");
  def_both(
      m,
      c,
      "diagonal",
      "The diagonal of dimensions `axis1` and `axis2`, `offset` above the main one, as the last "
      "dimension; a view.",
      [](const array& a, int offset, int axis1, int axis2, const StreamArg& s) {
        return diagonal(a, offset, axis1, axis2, s);
      },
      "offset"_a = 0,
      "axis1"_a = 0,
      "axis2"_a = 1);
  def_both(
      m,
      c,
      "diag",
      "Of a vector, the matrix with it on the `k`-th diagonal; of a matrix, its `k`-th diagonal. "
      "ValueError for other dimensions.",
      [](const array& a, int k, const StreamArg& s) { return diag(a, k, s); },
      "k"_a = 0,
      nb::kw_only());
  m.def(
      "as_strided",
      [](const array& a,
         const std::optional<Shape>& shape,
         const std::optional<Strides>& strides,
         int64_t offset,
         const StreamArg& s) {
        const Shape to = shape.value_or(a.shape());
        return as_strided(a, to, strides.value_or(row_major_strides(to)), offset, s);
      },
      "a"_a,
      "shape"_a = nb::none(),
      "strides"_a = nb::none(),
      "offset"_a = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Element (i, j, ...) is element offset + i * strides[0] + j * strides[1] + ... of `a` in "
      "row-major order. ValueError if one lies outside of `a`.");
}

void bind_parts(nb::module_& m, ArrayClass& c) {
  def_both(
      m,
      c,
      "split",
      "Parts along `axis`, as views: a number of equal ones, or cut before each index. "
      "ValueError if the dimension is not a multiple of the number.",
      &split_at,
      "indices_or_sections"_a,
      "axis"_a = 0,
      nb::kw_only());
  m.def(
      "flip",
      [](const array& a, const AxesArg& axis, const StreamArg& s) {
        return axis.kind == AxesArg::Kind::none ? flip(a, s) : flip(a, axis.axes, s);
      },
      "a"_a,
      "axis"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The elements in reverse order along all dimensions, or along `axis`; a view.");
  m.def(
      "unstack",
      [](const array& a, int axis, const StreamArg& s) {
        const int position = normalize_axis("unstack", axis, a.shape());
        std::vector<array> parts;
        const int64_t count = a.shape()[static_cast<size_t>(position)];
        if (count > 0) {
          for (const array& part : split(a, count, position, s)) {
            parts.push_back(squeeze(part, Axes{position}, s));
          }
        }
        return nb::tuple(nb::cast(parts));
      },
      "a"_a,
      nb::kw_only(),
      "axis"_a = 0,
      "stream"_a = nb::none(),
      nb::sig("def unstack(x: array, /, *, axis: int = 0, stream: Stream | ThreadLocalStream | "
              "Device | DeviceType | None = None) -> tuple[array, ...]"),
      "The entries along `axis`, as views without that dimension.");
}

} // namespace

void bind_shape(nb::module_& m, ArrayClass& c) {
  bind_reshapes(m, c);
  bind_broadcasts(m);
  bind_axes(m, c);
  bind_parts(m, c);
}

} // namespace narrows::python
