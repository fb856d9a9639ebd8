#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/function.h"
#include "bindings/tree.h"
#include "narrows/ops/strided.h"
#include "narrows/transforms/custom.h"

namespace narrows::python {
namespace {

// The forms of the arguments and of the result of a call.
struct CallForm {
  HeldObject positional;
  HeldObject keywords;
  HeldObject result; // for custom functions
};

// Rules get a single argument by itself, and several as a tuple.
nb::object one_or_all(const nb::object& arguments) {
  return nb::len(arguments) == 1 ? nb::object(arguments[0]) : arguments;
}
nb::object arguments_with(const CallForm& form, const std::vector<array>& arrays) {
  return one_or_all(filled_form(form.positional.get(), arrays));
}
nb::object result_with(const CallForm& form, const std::vector<array>& arrays) {
  return filled_form(form.result.get(), arrays);
}

// The arrays in a tree; None becomes an empty handle.
std::vector<array> arrays_or_none_in(const char* what, nb::handle tree) {
  std::vector<array> found;
  map_tree(tree, [&](nb::handle leaf) {
    const array* a = array_inside(leaf);
    if (!a && !leaf.is_none()) {
      fail<ValueError>(
          "[custom_function] ",
          what,
          " contains a ",
          nb::type_name(leaf.type()).c_str(),
          ", expected arrays or None.");
    }
    found.push_back(a ? *a : array());
    return nb::borrow(leaf);
  });
  return found;
}

// The outputs and axes that a custom vmap rule returned, with the batch as the first dimension.
std::vector<Batched> batched_results(const nb::object& found) {
  if (!PyTuple_Check(found.ptr()) || nb::len(found) != 2) {
    fail<ValueError>(
        "[custom_function] the vmap returned a ",
        nb::type_name(found.type()).c_str(),
        ", expected a tuple of the outputs and their axes.");
  }
  std::vector<Batched> results;
  for (const array& output : arrays_in(found[0])) {
    results.push_back({output, false});
  }
  size_t next = 0;
  map_tree(found[1], [&](nb::handle axis) {
    if (next < results.size() && !axis.is_none()) {
      array& value = results[next].value;
      value = moveaxis(value, nb::cast<int>(axis), 0, value.stream());
      results[next].batched = true;
    }
    ++next;
    return nb::borrow(axis);
  });
  if (next != results.size()) {
    fail<ValueError>(
        "[custom_function] the vmap returned ",
        results.size(),
        " outputs and ",
        next,
        " axes, expected one axis or None for each output.");
  }
  return results;
}

// A function with rules of its own. Transformations call the rules in Python.
struct CustomFunction {
  nb::object function;
  nb::object vjp;
  nb::object jvp;
  nb::object vmap;

  CustomRules rules(const CallForm& form) const;
};

CustomRules CustomFunction::rules(const CallForm& form) const {
  CustomRules rules;
  if (vjp.is_valid()) {
    rules.vjp = [rule = hold(vjp), form](
                    const std::vector<array>& primals,
                    const std::vector<array>& cotangents,
                    const std::vector<array>& outputs) {
      return arrays_or_none_in(
          "what the vjp returned",
          nb::handle(rule.get())(
              arguments_with(form, primals),
              result_with(form, cotangents),
              result_with(form, outputs)));
    };
  }
  if (jvp.is_valid()) {
    rules.jvp = [rule = hold(jvp), form](
                    const std::vector<array>& primals, const std::vector<array>& tangents) {
      size_t next = 0;
      const nb::object changes = filled_form(form.positional.get(), [&]() -> nb::object {
        const array& tangent = tangents[next++];
        return tangent ? nb::cast(tangent) : nb::none();
      });
      return arrays_or_none_in(
          "what the jvp returned",
          nb::handle(rule.get())(arguments_with(form, primals), one_or_all(changes)));
    };
  }
  if (vmap.is_valid()) {
    rules.vmap = [rule = hold(vmap), form](
                     const std::vector<array>& inputs, const std::vector<bool>& batched) {
      size_t next = 0;
      const nb::object axes = filled_form(form.positional.get(), [&]() -> nb::object {
        return batched[next++] ? nb::object(nb::int_(0)) : nb::none();
      });
      return batched_results(
          nb::handle(rule.get())(arguments_with(form, inputs), one_or_all(axes)));
    };
  }
  return rules;
}

nb::object call_custom(const CustomFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
  if (!arrays_in(kwargs).empty()) {
    fail<ValueError>(
        "[custom_function] arrays in keyword arguments, expected them in positional ones.");
  }
  const nb::object result = self.function(*args, **kwargs);
  const std::vector<array> outputs =
      only_arrays_in("custom_function", "what the function returned", result);
  const CallForm form{hold(form_of(args)), nullptr, hold(form_of(result))};
  const Function computed = [&](const std::vector<array>&) { return outputs; };
  return filled_form(
      form.result.get(), custom_function(computed, arrays_in(args), self.rules(form)));
}

nb::object call_checkpointed(
    const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs) {
  const CallForm form{hold(form_of(args)), hold(form_of(kwargs)), nullptr};
  const size_t positional = arrays_in(args).size();
  std::vector<array> inputs = arrays_in(args);
  for (const array& input : arrays_in(kwargs)) {
    inputs.push_back(input);
  }
  auto result = std::make_shared<HeldObject>();
  const Function function = [form, positional, result, called = hold(self.function)](
                                const std::vector<array>& given) {
    const std::span<const array> all(given);
    const nb::object arguments = filled_form(form.positional.get(), all.first(positional));
    const nb::object keywords = filled_form(form.keywords.get(), all.subspan(positional));
    const nb::object found =
        nb::handle(called.get())(*nb::cast<nb::args>(arguments), **nb::cast<nb::kwargs>(keywords));
    *result = hold(form_of(found));
    return only_arrays_in("checkpoint", "what the function returned", found);
  };
  const std::vector<array> outputs = checkpoint(function, inputs);
  return filled_form(result->get(), outputs);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (nb::inst_ready(self)) {
    const auto* custom = nb::inst_ptr<CustomFunction>(self);
    Py_VISIT(custom->function.ptr());
    Py_VISIT(custom->vjp.ptr());
    Py_VISIT(custom->jvp.ptr());
    Py_VISIT(custom->vmap.ptr());
  }
  return 0;
}

int clear(PyObject* self) {
  auto* custom = nb::inst_ptr<CustomFunction>(self);
  *custom = {};
  return 0;
}

PyType_Slot slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&clear)},
    {0, nullptr}};

void bind_custom_function(nb::module_& m) {
  nb::class_<CustomFunction>(
      m,
      "custom_function",
      nb::type_slots(slots),
      "A function of arrays, made of the decorated one, to which transformations apply rules of "
      "its own. Where it has no rule for a transformation, that goes through the operations of the "
      "function. Rules get the positional arguments: by themselves if there is one, else a tuple.")
      .def(
          "__init__",
          [](CustomFunction* self, nb::object f) {
            if (!PyCallable_Check(f.ptr())) {
              fail<TypeError>(
                  "[custom_function] a ",
                  nb::type_name(f.type()).c_str(),
                  ", expected a function.");
            }
            new (self) CustomFunction{std::move(f), {}, {}, {}};
          },
          "f"_a)
      .def("__call__", &call_custom)
      .def(
          "vjp",
          [](nb::object self, nb::object f) {
            nb::cast<CustomFunction&>(self).vjp = std::move(f);
            return self;
          },
          "f"_a,
          dedented(R"(Sets the rule for `vjp()` and `grad()`.

          Args:
            f: f(primals, cotangents, outputs) returns the cotangents of the primals, None for
              zeros. Cotangents and outputs have the form of what the function returns.

          Returns:
            The custom function.

          Example:
            >>> @mx.custom_function
            ... def twice(x):
            ...     return 2 * x
            >>> @twice.vjp
            ... def twice_vjp(primals, cotangents, outputs):
            ...     return 100 * cotangents
            >>> mx.grad(lambda x: twice(x))(mx.array(1.0))
            array(100, dtype=float32)
          )")
              .c_str())
      .def(
          "jvp",
          [](nb::object self, nb::object f) {
            nb::cast<CustomFunction&>(self).jvp = std::move(f);
            return self;
          },
          "f"_a,
          dedented(R"(Sets the rule for `jvp()`.

          Args:
            f: f(primals, tangents) returns the tangents of the outputs. A tangent is None where
              it is zero.

          Returns:
            The custom function.

          Example:
            >>> twice = mx.custom_function(lambda x: 2 * x)
            >>> twice = twice.jvp(lambda primals, tangents: 100 * tangents)
            >>> mx.jvp(lambda x: twice(x), [mx.array(1.0)], [mx.array(1.0)])
            ([array(2, dtype=float32)], [array(100, dtype=float32)])
          )")
              .c_str())
      .def(
          "vmap",
          [](nb::object self, nb::object f) {
            nb::cast<CustomFunction&>(self).vmap = std::move(f);
            return self;
          },
          "f"_a,
          dedented(R"(Sets the rule for `vmap()`.

          Args:
            f: f(inputs, axes) returns (outputs, axes of the outputs). An axis is None where an
              array is the same for all entries.

          Returns:
            The custom function.

          Example:
            >>> twice = mx.custom_function(lambda x: 2 * x)
            >>> twice = twice.vmap(lambda inputs, axes: (100 * inputs, axes))
            >>> mx.vmap(lambda x: twice(x))(mx.array([1.0, 2.0]))
            array([100, 200], dtype=float32)
          )")
              .c_str());
  define<"checkpoint(fun: Callable) -> Callable">(
      m,
      [](nb::object fun) { return transformed("checkpoint", std::move(fun), &call_checkpointed); },
      R"(A function whose derivatives compute it again instead of keeping what it computed on the way.

      That takes less memory and more work. Random numbers that it draws without a key are the same
      again.

      Args:
        fun: A function of arrays, and nested lists, tuples and dicts of arrays.

      Returns:
        A function with the same arguments and results.

      Raises:
        TypeError: If `fun` cannot be called.

      Example:
        >>> layer = mx.checkpoint(lambda x: mx.tanh(x) * x)
        >>> mx.grad(lambda x: layer(x).sum())(mx.array([0.0, 1.0]))
        array([0, 1.18157], dtype=float32)
      )");
}

const Binding binding{&bind_custom_function};

} // namespace
} // namespace narrows::python
