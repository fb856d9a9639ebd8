#include "narrows/core/errors.h"

#include <optional>
#include <system_error>

#include "bindings/bindings.h"
#include "narrows/runtime/event.h"

namespace narrows::python {
namespace {

unsigned long main_thread = 0;

// What a signal handler raised, from when an evaluation is stopped until Python sees it. The C++
// side only carries Interrupted, which may be dropped on any thread.
std::optional<nb::python_error>& raised_by_signal() {
  static auto* error = new std::optional<nb::python_error>;
  return *error;
}

// Only the main thread handles signals; the others need not ask for the interpreter's lock.
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

} // namespace

void bind_errors(nb::module_&) {
  nb::register_exception_translator(translate);
  main_thread = nb::cast<unsigned long>(
      nb::module_::import_("threading").attr("main_thread")().attr("ident"));
  set_interrupt_check(check_signals);
}

} // namespace narrows::python
