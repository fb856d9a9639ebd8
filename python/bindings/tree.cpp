#include "bindings/tree.h"

#include "bindings/convert.h"

namespace narrows::python {

namespace nb = nanobind;

namespace {

struct Recursion {
  Recursion() {
    if (Py_EnterRecursiveCall(" in a tree of arrays")) {
      throw nb::python_error();
    }
  }
  ~Recursion() {
    Py_LeaveRecursiveCall();
  }
};

// Calls `visit` for the leaves: what is no list, tuple or dict. Other containers say what they
// hold by a method, so that strings are not taken apart.
template <typename Visit>
void visit_leaves(PyObject* tree, Visit&& visit) {
  const bool sequence = PyList_Check(tree) || PyTuple_Check(tree);
  const bool dict = PyDict_Check(tree);
  const bool holder = !sequence && !dict && !array_inside(tree) &&
                      PyObject_HasAttrString(tree, "__narrows_arrays__");
  if (!sequence && !dict && !holder) {
    visit(nb::handle(tree));
    return;
  }
  const Recursion recursion;
  if (sequence) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(tree); ++i) {
      visit_leaves(PySequence_Fast_GET_ITEM(tree, i), visit);
    }
  } else if (dict) {
    PyObject *key, *value;
    for (Py_ssize_t i = 0; PyDict_Next(tree, &i, &key, &value);) {
      visit_leaves(value, visit);
    }
  } else {
    visit_leaves(nb::handle(tree).attr("__narrows_arrays__")().ptr(), visit);
  }
}

nb::object map_tuple(nb::handle tree, const LeafChange& change) {
  const Py_ssize_t size = PyTuple_GET_SIZE(tree.ptr());
  nb::object items = nb::steal(PyTuple_New(size));
  if (!items.is_valid()) {
    throw nb::python_error();
  }
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyTuple_SET_ITEM(
        items.ptr(), i, map_tree(PyTuple_GET_ITEM(tree.ptr(), i), change).release().ptr());
  }
  return PyTuple_CheckExact(tree.ptr()) ? items : tree.type().attr("_make")(items);
}

// Stands in a form where there was an array.
nb::handle array_place() {
  static PyObject* const place =
      PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return place;
}

} // namespace

std::vector<array> arrays_in(nb::handle tree) {
  std::vector<array> found;
  visit_leaves(tree.ptr(), [&](nb::handle leaf) {
    if (const array* a = array_inside(leaf)) {
      found.push_back(*a);
    }
  });
  return found;
}

std::vector<array> only_arrays_in(const char* op, const char* what, nb::handle tree) {
  std::vector<array> found;
  visit_leaves(tree.ptr(), [&](nb::handle leaf) {
    const array* a = array_inside(leaf);
    if (!a) {
      fail<ValueError>(
          "[",
          op,
          "] ",
          what,
          " contains a ",
          nb::type_name(leaf.type()).c_str(),
          ", expected only arrays in lists, tuples and dicts.");
    }
    found.push_back(*a);
  });
  return found;
}

nb::object map_tree(nb::handle tree, const LeafChange& change) {
  const Recursion recursion;
  if (PyList_Check(tree.ptr())) {
    nb::list result;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tree.ptr()); ++i) {
      result.append(map_tree(PyList_GET_ITEM(tree.ptr(), i), change));
    }
    return result;
  }
  if (PyTuple_Check(tree.ptr())) {
    return map_tuple(tree, change);
  }
  if (PyDict_Check(tree.ptr())) {
    nb::dict result;
    PyObject *key, *value;
    for (Py_ssize_t i = 0; PyDict_Next(tree.ptr(), &i, &key, &value);) {
      result[nb::handle(key)] = map_tree(value, change);
    }
    return result;
  }
  return change(tree);
}

nb::object with_arrays(nb::handle tree, std::span<const array> arrays, size_t& next) {
  return map_tree(tree, [&](nb::handle leaf) -> nb::object {
    return array_inside(leaf) ? nb::cast(arrays[next++]) : nb::borrow(leaf);
  });
}

nb::object form_of(nb::handle tree) {
  return map_tree(tree, [](nb::handle leaf) -> nb::object {
    return nb::borrow(array_inside(leaf) ? array_place() : leaf);
  });
}

nb::object filled_form(nb::handle form, const std::function<nb::object()>& next_leaf) {
  return map_tree(form, [&](nb::handle leaf) -> nb::object {
    return leaf.is(array_place()) ? next_leaf() : nb::borrow(leaf);
  });
}

nb::object filled_form(nb::handle form, std::span<const array> arrays) {
  size_t next = 0;
  return filled_form(form, [&]() -> nb::object { return nb::cast(arrays[next++]); });
}

} // namespace narrows::python
