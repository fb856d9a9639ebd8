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

// Marks the place of an array in a form.
nb::handle array_place() {
  static PyObject* const place =
      PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return place;
}

bool is_container(PyObject* object) {
  return PyList_Check(object) || PyTuple_Check(object) || PyDict_Check(object) ||
         is_array_holder(object);
}

bool is_leaf_that(const LeafTest& test, nb::handle object) {
  return !is_container(object.ptr()) && test(object);
}

// Calls `visit` for each leaf: an object that is not a container.
template <typename Visit>
void visit_leaves(PyObject* tree, Visit&& visit) {
  if (!is_container(tree)) {
    visit(nb::handle(tree));
    return;
  }
  const bool sequence = PyList_Check(tree) || PyTuple_Check(tree);
  const bool dict = PyDict_Check(tree);
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
    visit_leaves(arrays_held_by(tree).ptr(), visit);
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

size_t arrays_directly_in(nb::handle tuple) {
  size_t count = 0;
  for (nb::handle item : tuple) {
    count += array_inside(item) ? 1 : 0;
  }
  return count;
}

} // namespace

bool is_array_holder(nb::handle object) {
  // Asking an object for a method that it lacks is slow, so the usual kinds of leaves are not
  // asked.
  PyObject* o = object.ptr();
  const bool is_plain = o == Py_None || PyUnicode_Check(o) || PyLong_Check(o) || PyFloat_Check(o) ||
                        object.is(array_place());
  return !is_plain && !array_inside(object) && PyObject_HasAttrString(o, "__narrows_arrays__");
}

nb::object arrays_held_by(nb::handle holder) {
  return holder.attr("__narrows_arrays__")();
}

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
  if (is_array_holder(tree)) {
    return map_tree(arrays_held_by(tree), change);
  }
  return change(tree);
}

void update_in_place(nb::handle target, nb::handle value, const LeafTest& stays) {
  const Recursion recursion;
  if (array_inside(target)) {
    *nb::inst_ptr<array>(target) = *array_inside(value);
    return;
  }
  if (!is_container(target.ptr())) {
    return;
  }
  // The item at the same place is updated if it is a container of the same kind, else replaced.
  const auto merged = [&](nb::handle old, nb::handle now) {
    if (stays && is_leaf_that(stays, old) && is_leaf_that(stays, now)) {
      return nb::borrow(old);
    }
    const bool same_kind = (PyList_Check(old.ptr()) && PyList_Check(now.ptr())) ||
                           (PyDict_Check(old.ptr()) && PyDict_Check(now.ptr())) ||
                           (is_array_holder(old) && PyList_Check(now.ptr()));
    const bool tuples = PyTuple_Check(old.ptr()) && PyTuple_Check(now.ptr()) &&
                        nb::len(old) == nb::len(now) && arrays_directly_in(now) == 0;
    if (!same_kind && !tuples) {
      return nb::borrow(now);
    }
    update_in_place(old, now, stays);
    return nb::borrow(old);
  };
  if (PyDict_Check(target.ptr())) {
    const nb::dict old = nb::borrow<nb::dict>(target);
    for (nb::handle key : old.keys()) {
      if (!PyDict_Contains(value.ptr(), key.ptr())) {
        nb::del(target[key]);
      }
    }
    for (auto [key, item] : nb::borrow<nb::dict>(value)) {
      target[key] = old.contains(key) ? merged(old[key], item) : nb::borrow(item);
    }
    return;
  }
  const size_t size = nb::len(value);
  if (PyTuple_Check(target.ptr())) {
    for (size_t i = 0; i < size; ++i) {
      merged(target[i], value[i]);
    }
    return;
  }
  const bool list = PyList_Check(target.ptr());
  while (list && nb::len(target) > size) {
    target.attr("pop")();
  }
  for (size_t i = 0; i < size; ++i) {
    if (list && i == nb::len(target)) {
      target.attr("append")(value[i]);
    } else {
      target[i] = list ? merged(target[i], value[i]) : nb::object(value[i]);
    }
  }
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
