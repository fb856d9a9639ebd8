#include "bindings/define.h"

#include <nanobind/eval.h>

#include <cctype>

namespace narrows::python {
namespace {

// Words of signatures, and the text that stubs need instead.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"Any", "typing.Any"},
    {"Callable", "collections.abc.Callable"},
    {"Sequence", "collections.abc.Sequence"},
    {"StreamOrDevice", "Stream | ThreadLocalStream | Device | DeviceType | None"},
    {"scalar", "bool | int | float | complex"}};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
}

// Names that submodules qualify by the module that has them, so that their stubs import that
// module.
constexpr std::string_view kNamesOfCore[] = {
    "ArrayLike",
    "Device",
    "DeviceType",
    "Dtype",
    "Stream",
    "ThreadLocalStream",
    "array",
    "float32",
    "int32"};

std::string written_out_word(std::string_view word) {
  for (const auto& [shorthand, text] : kWords) {
    if (word == shorthand) {
      return std::string(text);
    }
  }
  return std::string(word);
}

std::string qualified_word(std::string_view word) {
  const bool of_core = std::ranges::find(kNamesOfCore, word) != std::end(kNamesOfCore);
  return (of_core ? "narrows.core." : "") + std::string(word);
}

std::string replace_words(std::string_view text, std::string (*replacement)(std::string_view)) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_word(text[end])) {
      ++end;
    }
    result += replacement(text.substr(i, end - i));
    if (end < text.size()) {
      result += text[end++];
    }
    i = end;
  }
  return result;
}

// The indentation of the least indented line, from the second line on.
size_t indentation(std::string_view text) {
  size_t least = std::string_view::npos;
  for (size_t end = text.find('\n'); end != std::string_view::npos;
       end = text.find('\n', end + 1)) {
    const size_t first = text.find_first_not_of(' ', end + 1);
    if (first != std::string_view::npos && text[first] != '\n') {
      least = std::min(least, first - end - 1);
    }
  }
  return least == std::string_view::npos ? 0 : least;
}

bool has_stream(const Signature& signature) {
  return signature.count > 0 &&
         std::string_view(signature.parameters[signature.count - 1].name) == "stream";
}

} // namespace

std::string dedented(std::string_view text) {
  const size_t spaces = indentation(text);
  std::string result;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (begin > 0) {
      line.remove_prefix(std::min({spaces, line.size()}));
      result += '\n';
    }
    result += line;
    begin = end + 1;
  }
  while (!result.empty() && (result.back() == ' ' || result.back() == '\n')) {
    result.pop_back();
  }
  return result;
}

std::string written_out(std::string_view signature, nb::handle owner) {
  const std::string text = replace_words(signature, written_out_word);
  const bool in_submodule = PyModule_Check(owner.ptr()) && !owner.is(core_module());
  return "def " + (in_submodule ? replace_words(text, qualified_word) : text);
}

std::string method_signature(const Signature& signature) {
  std::string_view rest = signature.text.substr(signature.name_length + 1);
  rest.remove_prefix(signature.first.size());
  if (rest.starts_with(", /")) {
    rest.remove_prefix(3);
  }
  const std::string name(signature.text.substr(0, signature.name_length));
  return written_out(name + "(self" + std::string(rest), array_class());
}

std::string docstring(const Signature& signature, std::string_view text) {
  std::string result = dedented(text);
  const size_t arguments = result.find("\nArgs:\n");
  if (has_stream(signature) && arguments != std::string::npos &&
      result.find("\n  stream: ", arguments) == std::string::npos) {
    const size_t end = std::min(result.find("\n\n", arguments + 1), result.size());
    result.insert(
        end, "\n  stream: Where it runs; None is the default stream of the default device.");
  }
  return result;
}

std::string method_docstring(const Signature& signature, std::string_view text) {
  std::string result = dedented(text);
  result.resize(std::min(result.find("\n\n"), result.size()));
  const std::string name(signature.text.substr(0, signature.name_length));
  return result + "\n\nThe same as the function `" + name + "()`, which says more.";
}

nb::object default_value(std::string_view text) {
  if (text == "None") {
    return nb::none();
  }
  if (text == "False" || text == "True") {
    return nb::bool_(text == "True");
  }
  return nb::eval(nb::str(text.data(), text.size()), core_module().attr("__dict__"));
}

} // namespace narrows::python
