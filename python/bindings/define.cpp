#include "bindings/define.h"

#include <nanobind/eval.h>

#include <cctype>

namespace narrows::python {
namespace {

// Words of signatures, and what the stubs have to say for them.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"Any", "typing.Any"},
    {"Callable", "collections.abc.Callable"},
    {"Sequence", "collections.abc.Sequence"},
    {"StreamOrDevice", "Stream | ThreadLocalStream | Device | DeviceType | None"},
    {"scalar", "bool | int | float | complex"}};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
}

std::string_view written_out_word(std::string_view word) {
  for (const auto& [shorthand, text] : kWords) {
    if (word == shorthand) {
      return text;
    }
  }
  return word;
}

// Lines from the second one on are indented by as much as the least indented of them.
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

std::string written_out(std::string_view signature) {
  std::string result = "def ";
  for (size_t i = 0; i < signature.size();) {
    size_t end = i;
    while (end < signature.size() && is_word(signature[end])) {
      ++end;
    }
    result += written_out_word(signature.substr(i, end - i));
    if (end < signature.size()) {
      result += signature[end++];
    }
    i = end;
  }
  return result;
}

std::string method_signature(const Signature& signature) {
  std::string_view rest = signature.text.substr(signature.name_length + 1);
  rest.remove_prefix(signature.first.size());
  if (rest.starts_with(", /")) {
    rest.remove_prefix(3);
  }
  return written_out(
      std::string(signature.text.substr(0, signature.name_length)) + "(self" + std::string(rest));
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
