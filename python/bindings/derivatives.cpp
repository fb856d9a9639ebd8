#include <algorithm>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/function.h"
#include "bindings/tree.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/transforms/derivative.h"

namespace narrows::python {
namespace {

using IntOrInts = std::variant<int, std::vector<int>>;
using NameOrNames = std::variant<std::string, std::vector<std::string>>;

// The arguments of a function that derivatives are taken with respect to.
struct Selection {
  const char* op;
  std::vector<int> numbers;
  std::vector<std::string> names;

  Selection(
      const char* op_name, const std::optional<IntOrInts>& argnums, const NameOrNames& argnames)
      : op(op_name) {
    if (const auto* name = std::get_if<std::string>(&argnames)) {
      names = {*name};
    } else {
      names = std::get<std::vector<std::string>>(argnames);
    }
    if (!argnums) {
      numbers = names.empty() ? std::vector<int>{0} : std::vector<int>{};
    } else if (const int* number = std::get_if<int>(&*argnums)) {
      numbers = {*number};
    } else {
      numbers = std::get<std::vector<int>>(*argnums);
    }
    check();
  }

  // The selected arguments of a call. ValueError if one is missing.
  nb::list in(const nb::args& args, const nb::kwargs& kwargs) const {
    nb::list found;
    for (int number : numbers) {
      if (static_cast<size_t>(number) >= args.size()) {
        fail<ValueError>(
            "[",
            op,
            "] argument ",
            number,
            " of a call with ",
            args.size(),
            " positional arguments, expected it to be given.");
      }
      found.append(args[static_cast<size_t>(number)]);
    }
    for (const std::string& name : names) {
      if (!kwargs.contains(name.c_str())) {
        fail<ValueError>(
            "[",
            op,
            "] keyword argument '",
            name,
            "' is not in the call, expected it to be given.");
      }
      found.append(kwargs[name.c_str()]);
    }
    return found;
  }

  // Calls the function with these arguments in place of the selected ones.
  nb::object call(
      nb::handle function,
      const nb::args& args,
      const nb::kwargs& kwargs,
      nb::handle selected) const {
    nb::list positional(args);
    nb::dict keywords;
    keywords.update(kwargs);
    size_t next = 0;
    for (int number : numbers) {
      positional[static_cast<size_t>(number)] = selected[next++];
    }
    for (const std::string& name : names) {
      keywords[name.c_str()] = selected[next++];
    }
    return function(*positional, **keywords);
  }

  // The gradients in the form that grad() returns: one by itself, several as a tuple. If names were
  // given, a dict by name is beside them.
  nb::object arranged(const nb::list& gradients) const {
    nb::object by_number = nb::none();
    if (numbers.size() == 1) {
      by_number = gradients[0];
    } else if (!numbers.empty()) {
      nb::list several;
      for (size_t i = 0; i < numbers.size(); ++i) {
        several.append(gradients[i]);
      }
      by_number = nb::tuple(several);
    }
    if (names.empty()) {
      return by_number;
    }
    nb::dict by_name;
    for (size_t i = 0; i < names.size(); ++i) {
      by_name[names[i].c_str()] = gradients[numbers.size() + i];
    }
    return nb::make_tuple(by_number, by_name);
  }

 private:
  void check() const {
    if (numbers.empty() && names.empty()) {
      fail<ValueError>("[", op, "] no argument is selected, expected at least one.");
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (numbers[i] < 0) {
        fail<ValueError>("[", op, "] argument number ", numbers[i], ", expected >= 0.");
      }
      if (std::count(numbers.begin(), numbers.end(), numbers[i]) > 1) {
        fail<ValueError>("[", op, "] argument ", numbers[i], " is selected twice.");
      }
    }
    for (const std::string& name : names) {
      if (std::count(names.begin(), names.end(), name) > 1) {
        fail<ValueError>("[", op, "] argument '", name, "' is selected twice.");
      }
    }
  }
};

// The loss in a function's result: an array, or the first item of a tuple where that is allowed.
array loss_of(const char* op, nb::handle value, bool may_be_tuple) {
  nb::handle loss = value;
  if (may_be_tuple && PyTuple_Check(value.ptr()) && PyTuple_GET_SIZE(value.ptr()) > 0) {
    loss = PyTuple_GET_ITEM(value.ptr(), 0);
  }
  const array* a = array_inside(loss);
  if (!a) {
    fail<ValueError>(
        "[",
        op,
        "] the function returned a ",
        nb::type_name(value.type()).c_str(),
        may_be_tuple ? ", expected a scalar array, or a tuple that begins with one."
                     : ", expected a scalar array.");
  }
  if (a->ndim() != 0) {
    fail<ValueError>(
        "[",
        op,
        "] the function returned an array of shape ",
        to_string(a->shape()),
        ", expected a scalar.");
  }
  return *a;
}

struct ValueAndGradients {
  nb::object value;
  nb::object gradients;
};

ValueAndGradients differentiate(
    const Selection& selection,
    bool may_be_tuple,
    nb::handle function,
    const nb::args& args,
    const nb::kwargs& kwargs) {
  const nb::list selected = selection.in(args, kwargs);
  const std::vector<array> primals =
      only_arrays_in(selection.op, "an argument to differentiate", selected);
  nb::object value;
  const Function loss = [&](const std::vector<array>& arguments) {
    size_t next = 0;
    value = selection.call(function, args, kwargs, with_arrays(selected, arguments, next));
    return std::vector<array>{loss_of(selection.op, value, may_be_tuple)};
  };
  const std::vector<array> gradients = vjp(loss, primals, [](const std::vector<array>& outputs) {
                                         const array& scalar = outputs[0];
                                         return std::vector<array>{number(1, scalar.dtype())};
                                       }).second;
  size_t next = 0;
  const nb::list arranged = nb::cast<nb::list>(with_arrays(selected, gradients, next));
  return {value, selection.arranged(arranged)};
}

// A Python function as a function of arrays, for transformations.
Function function_of_arrays(const char* op, nb::handle function) {
  return [op, function](const std::vector<array>& arguments) {
    nb::list list;
    for (const array& argument : arguments) {
      list.append(argument);
    }
    const nb::object result = function(*list);
    if (!array_inside(result) && !PyList_Check(result.ptr()) && !PyTuple_Check(result.ptr())) {
      fail<ValueError>(
          "[",
          op,
          "] the function returned a ",
          nb::type_name(result.type()).c_str(),
          ", expected an array or a list or tuple of arrays.");
    }
    return only_arrays_in(op, "what the function returned", result);
  };
}

void bind_gradients(nb::module_& m) {
  define<
      "value_and_grad(fun: Callable, argnums: int | Sequence[int] | None = None, "
      "argnames: str | Sequence[str] = []) -> Callable">(
      m,
      [](nb::object fun, const std::optional<IntOrInts>& argnums, const NameOrNames& argnames) {
        const Selection selection("value_and_grad", argnums, argnames);
        return transformed(
            "value_and_grad",
            std::move(fun),
            [selection](
                const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
              ValueAndGradients found = differentiate(selection, true, self.function, args, kwargs);
              return nb::object(nb::make_tuple(found.value, found.gradients));
            });
      },
      R"(A function that returns what another returns, and its gradients.

      Args:
        fun: A function that returns a scalar array, or a tuple that begins with one. Arguments
          are arrays and nested lists, tuples and dicts of arrays. Integers and bools have
          derivatives by the same rules as floating point numbers, rounded towards zero to the
          array's dtype: grad(lambda x: x * x)(array(3)) is 6. A conversion hands the derivative
          on, also one to integers; comparisons, positions, rounding and operations on bits have
          none: zeros.
        argnums: The positional arguments whose gradients are taken. None: argument 0, unless
          `argnames` selects any.
        argnames: The keyword arguments whose gradients are taken.

      Returns:
        A function with the same arguments, which returns the pair (value, gradients). Gradients
        have the form of their argument: one for an integer `argnums`, a tuple for several, and
        with `argnames` the pair of those by number and a dict of those by name.

      Raises:
        ValueError: In a call, for other results and arguments.

      Example:
        >>> value, gradient = mx.value_and_grad(lambda x: (x * x).sum())(mx.array([1.0, 2.0]))
        >>> value, gradient
        (array(5, dtype=float32), array([2, 4], dtype=float32))
      )");
  define<
      "grad(fun: Callable, argnums: int | Sequence[int] | None = None, argnames: str | "
      "Sequence[str] = []) -> Callable">(
      m,
      [](nb::object fun, const std::optional<IntOrInts>& argnums, const NameOrNames& argnames) {
        const Selection selection("grad", argnums, argnames);
        return transformed(
            "grad",
            std::move(fun),
            [selection](
                const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
              return differentiate(selection, false, self.function, args, kwargs).gradients;
            });
      },
      R"(A function that returns the gradients of another.

      Args:
        fun: A function that returns a scalar array, as for `value_and_grad()`.
        argnums: The positional arguments whose gradients are taken. None: argument 0, unless
          `argnames` selects any.
        argnames: The keyword arguments whose gradients are taken.

      Returns:
        A function with the same arguments, which returns the gradients as `value_and_grad()` does.

      Raises:
        ValueError: In a call, for other results and arguments.

      Example:
        >>> mx.grad(mx.sin)(mx.array(0.0))
        array(1, dtype=float32)
      )");
}

void bind_derivatives(nb::module_& m) {
  bind_gradients(m);
  define<
      "vjp(fun: Callable, primals: list[array], cotangents: list[array]) -> "
      "tuple[list[array], list[array]]">(
      m,
      [](nb::handle fun, const std::vector<array>& primals, const std::vector<array>& cotangents) {
        return vjp(function_of_arrays("vjp", fun), primals, cotangents);
      },
      R"(A function's outputs, and the product of cotangents with its matrix of derivatives.

      Args:
        fun: A function of arrays that returns an array, or a list or tuple of arrays.
        primals: Its arguments.
        cotangents: An array for each output, of its shape; it is converted to its dtype.

      Returns:
        The outputs, and the cotangents of the primals. Derivatives of complex functions are
        conjugated.

      Raises:
        ValueError: For other numbers or shapes of cotangents.

      Example:
        >>> mx.vjp(mx.square, [mx.array(3.0)], [mx.array(1.0)])
        ([array(9, dtype=float32)], [array(6, dtype=float32)])
      )");
  define<
      "jvp(fun: Callable, primals: list[array], tangents: list[array]) -> "
      "tuple[list[array], list[array]]">(
      m,
      [](nb::handle fun, const std::vector<array>& primals, const std::vector<array>& tangents) {
        return jvp(function_of_arrays("jvp", fun), primals, tangents);
      },
      R"(A function's outputs, and how they change as its arguments change.

      Args:
        fun: A function of arrays that returns an array, or a list or tuple of arrays.
        primals: Its arguments.
        tangents: The change of each argument, of its shape; it is converted to its dtype.

      Returns:
        The outputs, and their changes: the matrix of derivatives times the tangents.

      Raises:
        ValueError: For other numbers or shapes of tangents.

      Example:
        >>> mx.jvp(mx.square, [mx.array(3.0)], [mx.array(1.0)])
        ([array(9, dtype=float32)], [array(6, dtype=float32)])
      )");
  define<"stop_gradient(a: array, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return stop_gradient(a, s); },
      R"(An array that derivatives take for a constant.

      Args:
        a: An array.

      Returns:
        The same elements.

      Example:
        >>> mx.grad(lambda x: x * mx.stop_gradient(x))(mx.array(3.0))
        array(3, dtype=float32)
      )");
  define<
      "depends(inputs: array | Sequence[array], dependencies: array | Sequence[array]) "
      "-> array | list[array]">(
      m,
      [](nb::handle inputs, nb::handle dependencies) {
        const std::vector<array> arrays = only_arrays_in("depends", "inputs", inputs);
        size_t next = 0;
        return with_arrays(
            inputs, depends(arrays, only_arrays_in("depends", "dependencies", dependencies)), next);
      },
      R"(Arrays that are not computed before others are.

      Args:
        inputs: An array or a list of arrays.
        dependencies: What is computed before them.

      Returns:
        The elements of `inputs`, in its form.

      Raises:
        ValueError: If either contains something else than arrays.

      Example:
        >>> mx.depends(mx.array(1), mx.ones(3))
        array(1, dtype=int32)
      )");
}

const Binding binding{&bind_derivatives};

} // namespace
} // namespace narrows::python
