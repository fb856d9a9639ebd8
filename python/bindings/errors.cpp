#include "narrows/core/errors.h"

#include <optional>
#include <system_error>

#include "bindings/bindings.h"
#include "narrows/runtime/event.h"
#include "narrows/runtime/wait.h"

namespace narrows::python {
namespace {

unsigned long main_thread = 0;

// The error that a signal handler raised, from the time when an evaluation is stopped until Python
// sees it. C++ code only carries Interrupted, which may be dropped on any thread.
std::optional<nb::python_error>& raised_by_signal() {
  static auto* error = new std::optional<nb::python_error>;
  return *error;
}

// Only the main thread handles signals, so other threads need not take the interpreter's lock.
void check_signals() {
  if (PyThread_get_thread_ident() != main_thread) {
    return;
  }
  nb::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) {
    raised_by_signal().emplace();
    throw Interrupted("The evaluation was interrupted.");
  }
}

// The interpreter's lock, if this thread holds it. (PyGILState_Check() also returns true where it
// cannot know.)
void* let_go_of_interpreter() {
#if PY_VERSION_HEX >= 0x030D0000
  PyThreadState* current = PyThreadState_GetUnchecked();
#else
  PyThreadState* current = _PyThreadState_UncheckedGet();
#endif
  const bool held = current && current == PyGILState_GetThisThreadState();
  return held ? PyEval_SaveThread() : nullptr;
}

void take_interpreter(void* state) {
  PyEval_RestoreThread(static_cast<PyThreadState*>(state));
}

// A thread that waits lets other threads run Python.
constexpr HostLock kInterpreterLock{let_go_of_interpreter, take_interpreter};

void raise_interrupted(const Interrupted& error) {
  std::optional<nb::python_error>& raised = raised_by_signal();
  if (raised && PyThread_get_thread_ident() == main_thread) {
    raised->restore();
    raised.reset();
  } else {
    PyErr_SetString(PyExc_KeyboardInterrupt, error.what());
  }
}

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const ValueError& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const IndexError& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const TypeError& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
  } catch (const OverflowError& error) {
    PyErr_SetString(PyExc_OverflowError, error.what());
  } catch (const MemoryError& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const Interrupted& error) {
    raise_interrupted(error);
  } catch (const std::system_error& error) {
    const nb::object arguments = nb::make_tuple(error.code().value(), error.what());
    PyErr_SetObject(PyExc_OSError, arguments.ptr());
  }
}

void bind_errors(nb::module_&) {
  nb::register_exception_translator(translate);
  main_thread = nb::cast<unsigned long>(
      nb::module_::import_("threading").attr("main_thread")().attr("ident"));
  set_interrupt_check(check_signals);
  set_host_lock(&kInterpreterLock);
}

const Binding binding{&bind_errors};

} // namespace
} // namespace narrows::python
