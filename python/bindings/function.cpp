#include "bindings/function.h"

#include <mutex>
#include <vector>

namespace narrows::python {
namespace {

// References that threads release which must not wait for the interpreter.
struct Abandoned {
  std::mutex mutex;
  std::vector<PyObject*> objects;
};
Abandoned& abandoned() {
  static auto* const found = new Abandoned;
  return *found;
}

int give_back_abandoned(void*) {
  std::vector<PyObject*> objects;
  {
    const std::lock_guard lock(abandoned().mutex);
    objects.swap(abandoned().objects);
  }
  for (PyObject* object : objects) {
    Py_DECREF(object);
  }
  return 0;
}

void give_back(PyObject* object) {
  if (!Py_IsInitialized()) {
    return;
  }
  if (PyGILState_Check()) {
    Py_DECREF(object);
    return;
  }
  {
    const std::lock_guard lock(abandoned().mutex);
    abandoned().objects.push_back(object);
  }
  // If Python's queue of pending calls is full, the next call releases these as well.
  Py_AddPendingCall(&give_back_abandoned, nullptr);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) {
    return 0;
  }
  const auto* function = nb::inst_ptr<TransformedFunction>(self);
  Py_VISIT(function->function.ptr());
  Py_VISIT(function->state.ptr());
  return 0;
}

int clear(PyObject* self) {
  auto* function = nb::inst_ptr<TransformedFunction>(self);
  function->function.reset();
  function->state.reset();
  return 0;
}

// As a member of a class it binds to the instance, like Python's functions.
PyObject* bind_to_instance(PyObject* self, PyObject* instance, PyObject*) {
  if (!instance) {
    Py_INCREF(self);
    return self;
  }
  return PyMethod_New(self, instance);
}

PyType_Slot slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&clear)},
    {Py_tp_descr_get, reinterpret_cast<void*>(&bind_to_instance)},
    {0, nullptr}};

} // namespace

nb::object transformed(
    const char* op, nb::object function, TransformedFunction::Call call, nb::object state) {
  if (!PyCallable_Check(function.ptr())) {
    fail<TypeError>(
        "[", op, "] a ", nb::type_name(function.type()).c_str(), ", expected a function.");
  }
  return nb::cast(TransformedFunction{std::move(function), std::move(state), std::move(call)});
}

HeldObject hold(nb::handle object) {
  Py_XINCREF(object.ptr());
  return HeldObject(object.ptr(), &give_back);
}

namespace {

void bind_function(nb::module_& m) {
  nb::class_<TransformedFunction>(
      m,
      "_TransformedFunction",
      nb::type_slots(slots),
      "What grad(), vmap(), compile() and the like return: call it as the function it was made of.")
      .def(
          "__call__",
          [](const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
            return self.call(self, args, kwargs);
          })
      .def_prop_ro("__wrapped__", [](const TransformedFunction& self) { return self.function; })
      .def_prop_ro(
          "__doc__",
          [](const TransformedFunction& self) { return nb::object(self.function.attr("__doc__")); })
      // Other attributes, such as __name__, are those of the wrapped function.
      .def("__getattr__", [](const TransformedFunction& self, nb::handle name) {
        return nb::object(nb::getattr(self.function, name));
      });
}

const Binding binding{&bind_function};

} // namespace
} // namespace narrows::python
