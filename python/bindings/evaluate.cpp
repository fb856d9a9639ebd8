#include "narrows/graph/evaluate.h"

#include <deque>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/tree.h"
#include "narrows/graph/order.h"

namespace narrows::python {
namespace {

void collect(PyObject* tree, std::vector<array>& found) {
  if (const array* a = array_inside(tree)) {
    found.push_back(*a);
    return;
  }
  const bool sequence = PyList_Check(tree) || PyTuple_Check(tree);
  const bool dict = PyDict_Check(tree);
  // Other containers say what they hold by a method, so that strings are not taken apart.
  const bool holder = !sequence && !dict && PyObject_HasAttrString(tree, "__narrows_arrays__");
  if (!sequence && !dict && !holder) {
    return;
  }
  if (Py_EnterRecursiveCall(" while arrays were collected")) {
    throw nb::python_error();
  }
  struct Leave {
    ~Leave() {
      Py_LeaveRecursiveCall();
    }
  } leave;
  if (sequence) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(tree); ++i) {
      collect(PySequence_Fast_GET_ITEM(tree, i), found);
    }
  } else if (dict) {
    PyObject *key, *value;
    for (Py_ssize_t i = 0; PyDict_Next(tree, &i, &key, &value);) {
      collect(value, found);
    }
  } else {
    collect(nb::handle(tree).attr("__narrows_arrays__")().ptr(), found);
  }
}

bool all_ready(std::span<const array> arrays) {
  for (const array& a : arrays) {
    if (!a.is_ready()) {
      return false;
    }
  }
  return true;
}

void eval_trees(const nb::args& trees) {
  if (trees.size() == 1) {
    if (const array* a = array_inside(trees[0])) {
      evaluate(*a);
      return;
    }
  }
  evaluate(arrays_in(trees));
}

void async_eval_trees(const nb::args& trees) {
  const std::vector<array> arrays = arrays_in(trees);
  nb::gil_scoped_release release;
  async_eval(arrays);
}

// with bfs_max_width(n): one scope for each time it is entered.
class WidthContext {
 public:
  explicit WidthContext(int64_t width) : width_(width) {
    BfsMaxWidthScope checks_the_width(width);
  }
  WidthContext(WidthContext&&) = default;
  void enter() {
    scopes_.emplace_back(width_);
  }
  void exit() {
    scopes_.pop_back();
  }

 private:
  int64_t width_;
  std::deque<BfsMaxWidthScope> scopes_;
};

} // namespace

std::vector<array> arrays_in(nb::handle tree) {
  std::vector<array> found;
  collect(tree.ptr(), found);
  return found;
}

void evaluate(std::span<const array> arrays) {
  if (!all_ready(arrays)) {
    nb::gil_scoped_release release;
    eval(arrays);
  }
}

// The handle is copied: while the lock is released, other threads may assign to `a`.
void evaluate(const array& a) {
  if (!a.is_ready()) {
    const array held = a;
    nb::gil_scoped_release release;
    eval(held);
  }
}

void bind_evaluate(nb::module_& m) {
  m.def(
      "eval",
      &eval_trees,
      nb::sig("def eval(*args) -> None"),
      "Computes the arrays in `args` (arrays or nested lists, tuples and dicts of arrays; other "
      "leaves are ignored) and returns when they are there. Raises what a computation raises; "
      "Ctrl-C stops it between two operations.");
  m.def(
      "async_eval",
      &async_eval_trees,
      nb::sig("def async_eval(*args)"),
      "Starts to compute the arrays in `args` on the streams' threads and returns. An error is "
      "raised when one of them, or what depends on it, is evaluated.");
  m.def(
      "set_bfs_max_width",
      &set_bfs_max_width,
      "width"_a,
      "Bounds the breadth of the order in which graphs are evaluated: 1 is depth-first and holds "
      "the least memory, a large width is breadth-first. Returns the previous width. ValueError "
      "if it is below 1.");
  nb::class_<WidthContext>(m, "_BfsMaxWidthContext", "What bfs_max_width() returns.")
      .def("__enter__", [](WidthContext& self) { self.enter(); })
      .def("__exit__", [](WidthContext& self, const nb::args&) { self.exit(); });
  m.def(
      "bfs_max_width",
      [](int64_t width) { return WidthContext(width); },
      "width"_a,
      nb::sig("def bfs_max_width(width: int) -> _BfsMaxWidthContext"),
      "with bfs_max_width(n): evaluations of this thread use the width `n`; see "
      "set_bfs_max_width().");
}

} // namespace narrows::python
