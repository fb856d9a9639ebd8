#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/file_objects.h"
#include "narrows/io/gguf.h"
#include "narrows/io/npy.h"
#include "narrows/io/safetensors.h"

namespace narrows::python {
namespace {

constexpr const char* kFormats = "npy, npz, safetensors or gguf";

// A file argument: a path, or an object.
struct FileArgument {
  std::optional<std::string> path;
  nb::object object;
};

FileArgument read_file_argument(const char* op, nb::handle file, const char* method) {
  if (std::optional<std::string> path = path_inside(file)) {
    return {std::move(path), {}};
  }
  if (!nb::hasattr(file, method)) {
    fail<ValueError>(
        "[",
        op,
        "] a ",
        nb::type_name(file.type()).c_str(),
        ", expected a path or a binary file object with ",
        method,
        "().");
  }
  return {std::nullopt, nb::borrow(file)};
}

// The path with the format's ending, which is added if it is missing.
std::string with_end(const std::string& path, std::string_view end) {
  const bool has_end =
      path.size() >= end.size() && std::string_view(path).substr(path.size() - end.size()) == end;
  return has_end ? path : path + std::string(end);
}

nb::object text_object(const std::string& text) {
  // UnicodeDecodeError is a ValueError.
  nb::object result =
      nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "strict"));
  if (!result.is_valid()) {
    throw nb::python_error();
  }
  return result;
}

template <typename Values, typename AsObject>
nb::dict as_dict(const Values& values, AsObject&& as_object) {
  nb::dict result;
  for (const auto& [name, value] : values) {
    result[text_object(name)] = as_object(value);
  }
  return result;
}
nb::dict as_dict(const std::map<std::string, array>& arrays) {
  return as_dict(arrays, [](const array& a) { return nb::cast(a); });
}

nb::object value_object(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return text_object(*text);
  }
  if (const auto* a = std::get_if<array>(&value)) {
    return nb::cast(*a);
  }
  nb::list texts;
  for (const std::string& text : std::get<std::vector<std::string>>(value)) {
    texts.append(text_object(text));
  }
  return texts;
}

std::string format_of(
    const FileArgument& file, const std::optional<std::string>& format, bool return_metadata) {
  std::string name = file.path.value_or("");
  if (!file.path && !format) {
    nb::try_cast(nb::getattr(file.object, "name", nb::none()), name, false);
  }
  const size_t dot = name.rfind('.');
  const std::string found = format ? *format : dot == name.npos ? "" : name.substr(dot + 1);
  const bool has_metadata = found == "safetensors" || found == "gguf";
  if (!has_metadata && found != "npy" && found != "npz") {
    fail<ValueError>(
        "[load] ",
        format ? "format " : "the file ",
        format         ? *format
        : name.empty() ? "object without a name"
                       : name,
        ", expected ",
        kFormats,
        format ? "." : " at the end of the name, or as `format`.");
  }
  if (return_metadata && !has_metadata) {
    fail<ValueError>("[load] metadata of a ", found, " file, expected safetensors or gguf.");
  }
  return found;
}

nb::object npz_function(const char* name) {
  return nb::module_::import_("narrows._npz").attr(name);
}

// A Python object that makes arrays of members, on the stream.
nb::object load_npz(const FileArgument& file, const StreamArg& s) {
  const StreamOrDevice stream = s;
  nb::object from_object = nb::cpp_function([stream](nb::object opened, uint64_t size) {
    return load_npy(std::make_shared<PythonSource>(std::move(opened), size), 0, stream);
  });
  nb::object load = npz_function("load");
  if (!file.path) {
    return load(file.object, "the file object", nb::none(), from_object);
  }
  nb::object opened = nb::module_::import_("builtins").attr("open")(*file.path, "rb");
  const int descriptor = nb::cast<int>(opened.attr("fileno")());
  const std::string path = *file.path;
  using Places = std::vector<std::pair<uint64_t, uint64_t>>;
  nb::object from_file = nb::cpp_function([=](const Places& places) {
    const SourceRef source = open_source("load", descriptor, path);
    std::vector<array> arrays;
    for (const auto& [begin, bytes] : places) {
      arrays.push_back(load_npy(part_of(source, begin, bytes), 0, stream));
    }
    return arrays;
  });
  nb::object result;
  try {
    result = load(opened, path, from_file, from_object);
  } catch (...) {
    opened.attr("close")();
    throw;
  }
  opened.attr("close")();
  return result;
}

nb::object load_from(
    nb::handle file,
    const std::optional<std::string>& format,
    bool return_metadata,
    const StreamArg& s) {
  const FileArgument argument = read_file_argument("load", file, "read");
  const std::string name = format_of(argument, format, return_metadata);
  if (name == "npz") {
    return load_npz(argument, s);
  }
  std::shared_ptr<PythonSource> object;
  if (!argument.path) {
    object = std::make_shared<PythonSource>(argument.object);
  }
  const SourceRef source = object ? SourceRef(object) : open_source("load", *argument.path);
  if (name == "npy") {
    uint64_t end = 0;
    const array a = load_npy(source, 0, s, &end);
    if (object) {
      object->move_to(end); // another array may follow
    }
    return nb::cast(a);
  }
  nb::dict arrays;
  nb::dict metadata;
  if (name == "safetensors") {
    const Safetensors content = load_safetensors(source, s);
    arrays = as_dict(content.arrays);
    metadata = as_dict(content.metadata, text_object);
  } else {
    const Gguf content = load_gguf(source, s);
    arrays = as_dict(content.arrays);
    metadata = as_dict(content.metadata, value_object);
  }
  return return_metadata ? nb::object(nb::make_tuple(arrays, metadata)) : nb::object(arrays);
}

std::string require_text(const char* op, nb::handle object, const char* what) {
  std::string text;
  if (!nb::try_cast(object, text, false)) {
    fail<ValueError>(
        "[", op, "] ", what, " of type ", nb::type_name(object.type()).c_str(), ", expected str.");
  }
  return text;
}

const array& require_array(const char* op, const std::string& name, nb::handle object) {
  const array* a = array_inside(object);
  if (!a) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        name,
        " is a ",
        nb::type_name(object.type()).c_str(),
        ", expected an array.");
  }
  return *a;
}

std::map<std::string, array> read_arrays(const char* op, const nb::dict& arrays) {
  std::map<std::string, array> result;
  for (auto [key, value] : arrays) {
    const std::string name = require_text(op, key, "a name");
    result.emplace(name, require_array(op, name, value));
  }
  return result;
}

GgufValue read_value(const std::string& name, nb::handle object) {
  if (const array* a = array_inside(object)) {
    return *a;
  }
  std::string text;
  if (nb::try_cast(object, text, false)) {
    return text;
  }
  if (!PyList_Check(object.ptr())) {
    fail<ValueError>(
        "[save_gguf] the value ",
        name,
        " is a ",
        nb::type_name(object.type()).c_str(),
        ", expected an array, a str or a list of str.");
  }
  std::vector<std::string> texts;
  for (nb::handle item : object) {
    texts.push_back(require_text("save_gguf", item, "an item of a list"));
  }
  return texts;
}

// Writes to a path, without holding the interpreter's lock, or to an object.
template <typename ToPath, typename ToObject>
void save_to(
    const char* op,
    nb::handle file,
    std::string_view end,
    std::span<const array> arrays,
    ToPath&& to_path,
    ToObject&& to_object) {
  const FileArgument argument = read_file_argument(op, file, "write");
  if (argument.path) {
    const std::string path = with_end(*argument.path, end);
    nb::gil_scoped_release released;
    to_path(path);
  } else {
    evaluate(arrays);
    PythonSink sink(argument.object);
    to_object(sink);
  }
}

void save_array(nb::handle file, const array& a) {
  save_to(
      "save",
      file,
      ".npy",
      {&a, 1},
      [&](const std::string& path) { save(path, a); },
      [&](Sink& sink) { save_npy(sink, a); });
}

std::vector<array> values_of(const std::map<std::string, array>& arrays) {
  std::vector<array> values;
  for (const auto& [name, a] : arrays) {
    values.push_back(a);
  }
  return values;
}

void save_safetensors_to(
    nb::handle file, const nb::dict& arrays, const std::optional<nb::dict>& metadata) {
  Safetensors content{read_arrays("save_safetensors", arrays), {}};
  for (auto [key, value] : metadata.value_or(nb::dict())) {
    content.metadata[require_text("save_safetensors", key, "a key of metadata")] =
        require_text("save_safetensors", value, "a value of metadata");
  }
  save_to(
      "save_safetensors",
      file,
      ".safetensors",
      values_of(content.arrays),
      [&](const std::string& path) { save_safetensors(path, content); },
      [&](Sink& sink) { save_safetensors(sink, content); });
}

void save_gguf_to(
    nb::handle file, const nb::dict& arrays, const std::optional<nb::dict>& metadata) {
  Gguf content{read_arrays("save_gguf", arrays), {}};
  for (auto [key, value] : metadata.value_or(nb::dict())) {
    const std::string name = require_text("save_gguf", key, "a key of metadata");
    content.metadata.emplace(name, read_value(name, value));
  }
  save_to(
      "save_gguf",
      file,
      ".gguf",
      values_of(content.arrays),
      [&](const std::string& path) { save_gguf(path, content); },
      [&](Sink& sink) { save_gguf(sink, content); });
}

void save_archive(
    const char* op,
    nb::handle file,
    const nb::args& args,
    const nb::kwargs& kwargs,
    bool compressed) {
  nb::dict arrays;
  std::vector<array> values;
  const auto add = [&](nb::object name, nb::handle value) {
    values.push_back(require_array(op, nb::cast<std::string>(name), value));
    arrays[name] = value;
  };
  for (size_t i = 0; i < args.size(); ++i) {
    add(nb::cast(concat_message("arr_", i)), args[i]);
  }
  for (auto [key, value] : kwargs) {
    if (arrays.contains(key)) {
      fail<ValueError>(
          "[", op, "] ", nb::cast<std::string>(key), " is the name of an array without one, too.");
    }
    add(nb::borrow(key), value);
  }
  const FileArgument argument = read_file_argument(op, file, "write");
  evaluate(values);
  nb::object write =
      nb::cpp_function([](nb::handle opened, const array& a) { save_array(opened, a); });
  if (!argument.path) {
    npz_function("save")(argument.object, arrays, compressed, write);
    return;
  }
  FileSink sink(op, with_end(*argument.path, ".npz"));
  nb::object open = nb::module_::import_("builtins").attr("open");
  nb::object opened = open(sink.descriptor(), "wb", "closefd"_a = false);
  npz_function("save")(opened, arrays, compressed, write);
  opened.attr("close")();
  nb::gil_scoped_release released;
  sink.commit();
}

void bind_load(nb::module_& m) {
  define<
      "load(file: object, /, format: str | None = None, return_metadata: bool "
      "= False, *, stream: StreamOrDevice = None) -> array | dict[str, array] | "
      "tuple[dict[str, array], dict[str, Any]]">(
      m,
      &load_from,
      R"(Reads the arrays of a file.

      Arrays of a path are read when they are evaluated, each by itself, straight to where they
      lie: until then they take no memory, and the file stays open. It may be replaced or deleted
      meanwhile. Those of a file object, and of deflated members of .npz, are read at once.

      Args:
        file: A path, or a binary file object, which is read from where it stands.
        format: "npy", "npz", "safetensors" or "gguf". None: as the file's name ends.
        return_metadata: Whether the metadata of .safetensors or .gguf is returned, too.

      Returns:
        An array (.npy) or a dict of arrays by name; with `return_metadata` the pair of the dict
        and a dict of metadata: texts, and in .gguf also lists of texts and arrays.

      Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: For a damaged file, for types of elements that arrays do not have, and for an
          unknown format. When an array is evaluated: if the file has been cut off since.

      Example:
        >>> mx.save("a.npy", mx.arange(3))
        >>> mx.load("a.npy")
        array([0, 1, 2], dtype=int32)
      )");
}

void bind_save(nb::module_& m) {
  define<"save(file: object, arr: array) -> None">(
      m,
      [](nb::handle file, const array& arr) { save_array(file, arr); },
      R"(Writes an array to a .npy file.

      The file is written under another name beside it and then takes its place: if that fails, or
      is interrupted, the old file stays. bfloat16 is written as NumPy's type V2.

      Args:
        file: A path, to which .npy is added where it is missing, or a binary file object.
        arr: The array. It is evaluated before the file is touched.

      Raises:
        OSError: If the file cannot be written.
        ValueError: If `file` is neither.

      Example:
        >>> mx.save("a.npy", mx.array([1.5, 2.5]))
        >>> mx.load("a.npy")
        array([1.5, 2.5], dtype=float32)
      )");
  define<"savez(file: object, *args: Any, **kwargs: Any) -> None">(
      m,
      [](nb::handle file, const nb::args& args, const nb::kwargs& kwargs) {
        save_archive("savez", file, args, kwargs, false);
      },
      R"(Writes arrays to an archive of .npy files.

      Args:
        file: A path, to which .npz is added where it is missing, or a binary file object.
        *args: Arrays that are named arr_0, arr_1, ...
        **kwargs: Arrays by name.

      Raises:
        OSError: If the file cannot be written.
        ValueError: If a value is no array, or two have one name.

      Example:
        >>> mx.savez("a.npz", mx.array([1, 2]), bias=mx.array(3.0))
        >>> mx.load("a.npz")["bias"]
        array(3, dtype=float32)
      )");
  define<"savez_compressed(file: object, *args: Any, **kwargs: Any) -> None">(
      m,
      [](nb::handle file, const nb::args& args, const nb::kwargs& kwargs) {
        save_archive("savez_compressed", file, args, kwargs, true);
      },
      R"(Writes arrays to an archive of deflated .npy files.

      They are read at once when the archive is loaded.

      Args:
        file: A path, to which .npz is added where it is missing, or a binary file object.
        *args: Arrays that are named arr_0, arr_1, ...
        **kwargs: Arrays by name.

      Raises:
        OSError: If the file cannot be written.
        ValueError: If a value is no array, or two have one name.

      Example:
        >>> mx.savez_compressed("a.npz", mx.zeros((2, 2)))
        >>> mx.load("a.npz")["arr_0"].shape
        (2, 2)
      )");
  define<
      "save_safetensors(file: object, arrays: dict[str, array], metadata: "
      "dict[str, str] | None = None) -> None">(
      m,
      &save_safetensors_to,
      R"(Writes named arrays to a .safetensors file.

      Args:
        file: A path, to which .safetensors is added where it is missing, or a binary file object.
        arrays: Arrays by name. They are evaluated before the file is touched.
        metadata: Texts by name, to keep with them.

      Raises:
        OSError: If the file cannot be written.
        ValueError: If a value is no array, or a text is none.

      Example:
        >>> mx.save_safetensors("a.safetensors", {"w": mx.ones((2,))}, {"step": "7"})
        >>> mx.load("a.safetensors", return_metadata=True)
        ({'w': array([1, 1], dtype=float32)}, {'step': '7'})
      )");
  define<
      "save_gguf(file: object, arrays: dict[str, array], metadata: dict[str, "
      "array | str | list[str]] | None = None) -> None">(
      m,
      &save_gguf_to,
      R"(Writes named arrays to a .gguf file.

      Args:
        file: A path, to which .gguf is added where it is missing, or a binary file object.
        arrays: Arrays by name, of a floating point or a signed integer dtype. They are evaluated
          before the file is touched.
        metadata: Values to keep with them: texts, lists of texts, and arrays of no or one
          dimension.

      Raises:
        OSError: If the file cannot be written.
        ValueError: For values and dtypes that the format does not have.

      Example:
        >>> mx.save_gguf("a.gguf", {"w": mx.ones((2,))}, {"layers": mx.array(3)})
        >>> mx.load("a.gguf", return_metadata=True)
        ({'w': array([1, 1], dtype=float32)}, {'layers': array(3, dtype=int32)})
      )");
}

void bind_io(nb::module_& m) {
  bind_load(m);
  bind_save(m);
}

const Binding binding{&bind_io};

} // namespace
} // namespace narrows::python
