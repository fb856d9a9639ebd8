#include "narrows/transforms/vmap.h"

#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/function.h"
#include "bindings/tree.h"

namespace narrows::python {
namespace {

using OptionalAxis = std::optional<int>;

[[noreturn]] void fail_prefix(const char* what) {
  fail<ValueError>(
      "[vmap] ",
      what,
      " does not have the form of the arrays, expected an axis for each array, list, "
      "tuple or dict.");
}

// An axis for each leaf of the tree, in the order of map_tree(). `axes` is an axis or None for the
// whole tree, or has the form of the tree.
void collect_axes(
    nb::handle tree, nb::handle axes, const char* what, std::vector<OptionalAxis>& found) {
  if (axes.is_none() || PyLong_Check(axes.ptr())) {
    const OptionalAxis axis = axes.is_none() ? std::nullopt : OptionalAxis(nb::cast<int>(axes));
    map_tree(tree, [&](nb::handle leaf) {
      found.push_back(axis);
      return nb::borrow(leaf);
    });
    return;
  }
  const bool sequences = (PyList_Check(tree.ptr()) || PyTuple_Check(tree.ptr())) &&
                         (PyList_Check(axes.ptr()) || PyTuple_Check(axes.ptr()));
  const bool dicts = PyDict_Check(tree.ptr()) && PyDict_Check(axes.ptr());
  if ((!sequences && !dicts) || nb::len(tree) != nb::len(axes)) {
    fail_prefix(what);
  }
  if (sequences) {
    for (size_t i = 0; i < nb::len(tree); ++i) {
      collect_axes(tree[i], axes[i], what, found);
    }
    return;
  }
  PyObject *key, *value;
  for (Py_ssize_t i = 0; PyDict_Next(tree.ptr(), &i, &key, &value);) {
    PyObject* of_key = PyDict_GetItemWithError(axes.ptr(), key);
    if (!of_key) {
      fail_prefix(what);
    }
    collect_axes(value, of_key, what, found);
  }
}

nb::object call_batched(const TransformedFunction& self, const nb::args& args) {
  const nb::object in_axes = self.state["in_axes"];
  const nb::object out_axes = self.state["out_axes"];
  std::vector<OptionalAxis> leaf_axes;
  collect_axes(args, in_axes, "in_axes", leaf_axes);
  std::vector<array> inputs;
  std::vector<OptionalAxis> axes;
  size_t leaf = 0;
  map_tree(args, [&](nb::handle value) {
    const OptionalAxis axis = leaf_axes[leaf++];
    if (const array* a = array_inside(value)) {
      inputs.push_back(*a);
      axes.push_back(axis);
    } else if (axis) {
      fail<ValueError>(
          "[vmap] an argument contains a ",
          nb::type_name(value.type()).c_str(),
          " with axis ",
          *axis,
          ", expected an array, or None for its axis.");
    }
    return nb::borrow(value);
  });
  nb::object result;
  const Function function = [&](const std::vector<array>& arguments) {
    size_t next = 0;
    result = self.function(*nb::cast<nb::tuple>(with_arrays(args, arguments, next)));
    return only_arrays_in("vmap", "what the function returned", result);
  };
  const BatchedOutputs found = vmap(function, inputs, axes);
  std::vector<OptionalAxis> result_axes;
  collect_axes(result, out_axes, "out_axes", result_axes);
  std::vector<array> outputs;
  for (size_t i = 0; i < found.outputs.size(); ++i) {
    outputs.push_back(batch_along(found.outputs[i], found.size, result_axes[i]));
  }
  size_t next = 0;
  return with_arrays(result, outputs, next);
}

void bind_vmap(nb::module_& m) {
  define<"vmap(fun: Callable, in_axes: object = 0, out_axes: object = 0) -> Callable">(
      m,
      [](nb::object fun, nb::handle in_axes, nb::handle out_axes) {
        nb::dict state;
        state["in_axes"] = in_axes;
        state["out_axes"] = out_axes;
        return transformed(
            "vmap",
            std::move(fun),
            [](const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
              if (kwargs.size() > 0) {
                fail<TypeError>("[vmap] keyword arguments, expected positional ones only.");
              }
              return call_batched(self, args);
            },
            std::move(state));
      },
      R"(A function that applies another to all entries of a batch at once.

      Args:
        fun: A function of arrays.
        in_axes: Along which axis of the arguments the entries lie: an integer for all, or a list
          or tuple with one entry for each argument. Such an entry is an integer, None (the
          argument is the same for all entries of the batch), or a tree of these for a tree of
          arrays.
        out_axes: Where the batch is in the results.

      Returns:
        A function with the same positional arguments.

      Raises:
        ValueError: In a call, if sizes differ or nothing is batched.
        IndexError: In a call, if an axis is out of range.

      Example:
        >>> dot = mx.vmap(mx.inner, in_axes=(0, None))
        >>> dot(mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 1.0]))
        array([3, 7], dtype=float32)
      )");
}

const Binding binding{&bind_vmap};

} // namespace
} // namespace narrows::python
