#include "narrows/transforms/export.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <unordered_map>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/ops/creation.h"

namespace narrows::python {
namespace {

struct Arguments {
  std::vector<array> positional;
  Keywords named;
};

[[noreturn]] void fail_arguments(const char* op, nb::handle found) {
  fail<ValueError>(
      "[",
      op,
      "] a ",
      nb::type_name(found.type()).c_str(),
      " among the arguments, expected arrays by position and by name, or a tuple of arrays and a "
      "dict of arrays.");
}

const array& require_array(const char* op, nb::handle object) {
  const array* a = array_inside(object);
  if (!a) {
    fail_arguments(op, object);
  }
  return *a;
}

void add_sequence(const char* op, nb::handle sequence, Arguments& to) {
  for (nb::handle item : sequence) {
    to.positional.push_back(require_array(op, item));
  }
}

void add_dict(const char* op, const nb::dict& dict, Arguments& to) {
  for (auto [key, item] : dict) {
    std::string name;
    if (!nb::try_cast(key, name, false)) {
      fail_arguments(op, key);
    }
    to.named.emplace(std::move(name), require_array(op, item));
  }
}

bool is_sequence(nb::handle object) {
  return PyTuple_Check(object.ptr()) || PyList_Check(object.ptr());
}
bool is_dict(nb::handle object) {
  return PyDict_Check(object.ptr());
}

// Arrays by position and by name. They may also be given as a tuple or list, as a dict, or as both.
Arguments read_arguments(const char* op, const nb::args& args, const nb::kwargs& kwargs) {
  Arguments result;
  const size_t count = args.size();
  const bool has_sequence = count > 0 && is_sequence(args[0]);
  const bool has_dict = count > 0 && is_dict(args[count - 1]);
  if (kwargs.size() == 0 && (has_sequence || has_dict) &&
      count == size_t{has_sequence} + size_t{has_dict}) {
    if (has_sequence) {
      add_sequence(op, args[0], result);
    }
    if (has_dict) {
      add_dict(op, nb::borrow<nb::dict>(args[count - 1]), result);
    }
    return result;
  }
  add_sequence(op, args, result);
  add_dict(op, kwargs, result);
  return result;
}

std::vector<array> read_results(nb::handle result) {
  std::vector<array> arrays;
  if (const array* a = array_inside(result)) {
    return {*a};
  }
  const bool sequence = is_sequence(result);
  for (nb::handle item : sequence ? nb::borrow(result) : nb::object(nb::make_tuple(result))) {
    const array* a = array_inside(item);
    if (!a) {
      fail<ValueError>(
          "[export_function] the function returned ",
          sequence ? "a sequence with a " : "a ",
          nb::type_name(item.type()).c_str(),
          ", expected an array, or a tuple or list of arrays.");
    }
    arrays.push_back(*a);
  }
  return arrays;
}

KeywordFunction as_function(nb::object function) {
  if (!PyCallable_Check(function.ptr())) {
    fail<TypeError>(
        "[export_function] a ", nb::type_name(function.type()).c_str(), ", expected a function.");
  }
  return [function = std::move(function)](
             const std::vector<array>& positional, const Keywords& named) {
    nb::list args;
    nb::dict kwargs;
    for (const array& a : positional) {
      args.append(a);
    }
    for (const auto& [name, a] : named) {
      kwargs[nb::str(name.c_str(), name.size())] = a;
    }
    return read_results(function(*args, **kwargs));
  };
}

std::string as_path(nb::handle file) {
  return nb::cast<std::string>(nb::module_::import_("os").attr("fspath")(file));
}

// Names of values, in the order in which they are asked for: A, B, ..., Z, AA, ...
class ValueNames {
 public:
  nb::str operator()(uint32_t value) {
    const auto [at, is_new] = numbers_.try_emplace(value, numbers_.size());
    std::string name;
    for (size_t n = at->second + 1; n > 0; n = (n - 1) / 26) {
      name.insert(name.begin(), static_cast<char>('A' + (n - 1) % 26));
    }
    return nb::str(name.c_str());
  }

 private:
  std::unordered_map<uint32_t, size_t> numbers_;
};

nb::object as_object(const AttributeValue& value) {
  return std::visit(
      [](const auto& v) -> nb::object {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, Scalar>) {
          return nb::cast(array(v));
        } else if constexpr (std::is_same_v<T, Axes>) {
          return nb::cast(Shape(v.begin(), v.end()));
        } else {
          return nb::cast(v);
        }
      },
      value);
}

// Calls a Python function with what was recorded, one dict after another.
class GraphTeller {
 public:
  GraphTeller(const ExportedGraph& graph, nb::object callback)
      : graph_(graph), callback_(std::move(callback)) {
    for (const OutputSpec& argument : graph.arguments) {
      specs_.push_back(argument);
    }
    for (const ExportedGraph::Node& node : graph.nodes) {
      specs_.insert(specs_.end(), node.outputs.begin(), node.outputs.end());
    }
  }

  void tell() {
    nb::list inputs;
    nb::list keywords;
    nb::list constants;
    const size_t positional = graph_.positional();
    for (uint32_t i = 0; i < graph_.arguments.size(); ++i) {
      inputs.append(value(i));
      if (i >= positional) {
        keywords.append(nb::make_tuple(graph_.keywords[i - positional], names_(i)));
      }
    }
    send("inputs", "inputs", inputs);
    send("keyword_inputs", "keywords", keywords);
    send("outputs", "outputs", values(graph_.outputs));
    for (uint32_t i = 0; i < graph_.constants.size(); ++i) {
      constants.append(nb::make_tuple(names_(ExportedGraph::kConstant | i), graph_.constants[i]));
    }
    send("constants", "constants", constants);
    uint32_t next = static_cast<uint32_t>(graph_.arguments.size());
    for (const ExportedGraph::Node& node : graph_.nodes) {
      tell(node, next);
      next += static_cast<uint32_t>(node.outputs.size());
    }
  }

 private:
  void tell(const ExportedGraph::Node& node, uint32_t first_output) {
    nb::dict parameters;
    nb::list arguments;
    for (const Attribute& attribute : node.attributes) {
      const nb::object value = as_object(attribute.value);
      parameters[attribute.name.c_str()] = value;
      arguments.append(value);
    }
    nb::list outputs;
    for (uint32_t i = 0; i < node.outputs.size(); ++i) {
      outputs.append(value(first_output + i));
    }
    nb::dict told;
    told["type"] = "primitive";
    told["name"] = node.name;
    told["inputs"] = values(node.inputs);
    told["outputs"] = outputs;
    told["arguments"] = arguments;
    told["parameters"] = parameters;
    callback_(told);
  }

  nb::object value(uint32_t value) {
    OutputSpec spec;
    if (value & ExportedGraph::kConstant) {
      const array& a = graph_.constants[value & ~ExportedGraph::kConstant];
      spec = {a.shape(), a.dtype()};
    } else {
      spec = specs_[value];
    }
    return nb::make_tuple(names_(value), spec.shape, spec.dtype);
  }
  nb::list values(const std::vector<uint32_t>& numbers) {
    nb::list result;
    for (const uint32_t number : numbers) {
      result.append(value(number));
    }
    return result;
  }
  void send(const char* type, const char* key, const nb::object& content) {
    nb::dict told;
    told["type"] = type;
    told[key] = content;
    callback_(told);
  }

  const ExportedGraph& graph_;
  nb::object callback_;
  std::vector<OutputSpec> specs_;
  ValueNames names_;
};

void export_function_to(
    nb::object file_or_callback,
    nb::object fun,
    const nb::args& args,
    bool shapeless,
    const std::optional<std::string>& metadata,
    const nb::kwargs& kwargs) {
  const Arguments arguments = read_arguments("export_function", args, kwargs);
  const KeywordFunction function = as_function(std::move(fun));
  if (!PyCallable_Check(file_or_callback.ptr())) {
    FunctionExporter exporter(
        as_path(file_or_callback), function, shapeless, metadata.value_or(""));
    exporter(arguments.positional, arguments.named);
    exporter.close();
    return;
  }
  if (metadata) {
    fail<ValueError>("[export_function] metadata for a callback, expected it only for a file.");
  }
  const ExportedGraph graph =
      record_for_export(function, arguments.positional, arguments.named, shapeless);
  GraphTeller(graph, std::move(file_or_callback)).tell();
}

void bind_exporter(nb::module_& m) {
  nb::class_<FunctionExporter>(
      m, "FunctionExporter", "What exporter() returns: call it once for each kind of arguments.")
      .def(
          "__call__",
          [](FunctionExporter& exporter, const nb::args& args, const nb::kwargs& kwargs) {
            const Arguments arguments = read_arguments("export_function", args, kwargs);
            exporter(arguments.positional, arguments.named);
          })
      .def("__enter__", [](nb::handle self) { return nb::borrow(self); })
      .def(
          "__exit__",
          [](FunctionExporter& exporter, nb::handle type, nb::handle, nb::handle) {
            if (type.is_none()) {
              exporter.close();
            } else {
              exporter.discard();
            }
          },
          "type"_a.none(),
          "value"_a.none(),
          "traceback"_a.none())
      .def(
          "close",
          &FunctionExporter::close,
          dedented(R"(Writes the file, if that was not done yet.

          Raises:
            OSError: If the file cannot be written.

          Example:
            >>> import os, tempfile
            >>> export = mx.exporter(os.path.join(tempfile.mkdtemp(), "f.nrw"), mx.exp)
            >>> export(mx.ones(2))
            >>> export.close()
          )")
              .c_str());
  define<
      "exporter(file: str, fun: Callable, *, shapeless: bool = False, metadata: str | "
      "None = None) -> FunctionExporter">(
      m,
      [](nb::handle file, nb::object fun, bool shapeless, std::optional<std::string> metadata) {
        return FunctionExporter(
            as_path(file), as_function(std::move(fun)), shapeless, metadata.value_or(""));
      },
      R"(Writes one function, recorded for several kinds of arguments, to one file.

      The exporter is called with example arguments, once for each kind. Arrays that the
      recordings share are stored once. The file is written at the end of `with`, or by close();
      after an error in the `with` nothing is written.

      Args:
        file: A path.
        fun: A function of arrays, as for `export_function()`.
        shapeless: As for `export_function()`.
        metadata: A text to keep with it.

      Returns:
        An object to call.

      Raises:
        ValueError: In a call, for arguments of a kind that was recorded before.
        OSError: If the file cannot be written.

      Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "f.nrw")
        >>> with mx.exporter(path, lambda *arrays: sum(arrays)) as export:
        ...     export(mx.ones(2))
        ...     export(mx.ones(2), mx.ones(2))
        >>> mx.import_function(path)(mx.array([1.0, 2.0]), mx.array([3.0, 4.0]))
        (array([4, 6], dtype=float32),)
      )");
}

void bind_export(nb::module_& m) {
  bind_exporter(m);
  define<
      "export_function(file_or_callback: str | Callable, fun: Callable, *args: Any, "
      "shapeless: bool = False, metadata: str | None = None, **kwargs: Any) -> None">(
      m,
      &export_function_to,
      R"(Records a function and writes it to a file, which `import_function()` reads.

      The function is kept as the operations that it records, without streams and without rules of
      custom functions. Arrays that it captures are stored with their values.

      Args:
        file_or_callback: A path. A function in its place gets dicts: inputs, keyword_inputs,
          outputs, constants, and then each operation.
        fun: A function that returns an array, or a tuple or list of arrays.
        *args: Arrays as the function is to be called with, or one tuple of arrays and one dict of
          arrays.
        shapeless: Whether the function can be called with arrays of other shapes, but as many
          dimensions. What was taken from a shape in Python, and slices, stay as they were.
        metadata: A text to keep with it.
        **kwargs: Arrays that are passed by name.

      Raises:
        ValueError: For other arguments or results.
        OSError: If the file cannot be written.

      Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "f.nrw")
        >>> mx.export_function(path, lambda x: x * 2, mx.ones(2))
        >>> mx.import_function(path)(mx.array([1.0, 2.0]))
        (array([2, 4], dtype=float32),)
      )");
  nb::class_<ImportedFunction>(
      m, "_ImportedFunction", "What import_function() returns: call it as the exported function.")
      .def(
          "__call__", [](const ImportedFunction& self, const nb::args& args, const nb::kwargs& kw) {
            const Arguments arguments = read_arguments("import_function", args, kw);
            nb::list results;
            for (const array& a : self(arguments.positional, arguments.named)) {
              results.append(a);
            }
            return nb::tuple(results);
          });
  define<
      "import_function(file: str, return_metadata: bool = False) -> Callable | "
      "tuple[Callable, str]">(
      m,
      [](nb::handle file, bool return_metadata) -> nb::object {
        const ImportedFunction function = import_function(as_path(file));
        nb::object result = nb::cast(function);
        return return_metadata ? nb::object(nb::make_tuple(result, function.metadata())) : result;
      },
      R"(The function in a file that `export_function()` or `exporter()` wrote.

      It takes arrays as the exported function did and returns a tuple of arrays. Its operations
      run on the default stream, and transformations apply to it. The file is checked as a whole,
      and nothing in it is run as code.

      Args:
        file: A path.
        return_metadata: Whether the text that was kept with it is returned, too.

      Returns:
        A function, or the pair of it and its metadata.

      Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is damaged, or, in a call, for arguments that it was not exported
          for.

      Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "f.nrw")
        >>> mx.export_function(path, lambda x: x + 1, mx.ones(2), metadata="adds one")
        >>> function, text = mx.import_function(path, return_metadata=True)
        >>> text
        'adds one'
      )");
}

const Binding binding{&bind_export};

} // namespace
} // namespace narrows::python
