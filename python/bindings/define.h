// Defines a function from its signature in Python's words, which is written once:
//
//   define<"diff(a: array, /, n: int = 1, axis: int = -1) -> array">(m, &diff, R"(Summary. ...)");
//
// Names, defaults, keyword-only parameters, and the text that help() and the type stubs show all
// come from that signature. Parameters before "/" are shown as positional-only, as MLX shows them,
// and are accepted by keyword as well.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/bindings.h"

namespace narrows::python {

// A string literal as a template argument.
template <size_t N>
struct Literal {
  char chars[N];

  consteval Literal(const char (&text)[N]) { // NOLINT: literals convert
    std::copy_n(text, N, chars);
  }
  constexpr std::string_view view() const {
    return {chars, N - 1};
  }
};

// The place of the first of these characters, or of this part; the length of the text if there is
// none. The functions of the standard library are no constant expressions where sanitizers check
// pointers.
constexpr size_t first_of(std::string_view text, std::string_view characters) {
  size_t i = 0;
  for (; i < text.size(); ++i) {
    for (const char character : characters) {
      if (text[i] == character) {
        return i;
      }
    }
  }
  return i;
}
constexpr size_t first_part(std::string_view text, std::string_view part) {
  size_t i = 0;
  while (i < text.size() && text.substr(i, part.size()) != part) {
    ++i;
  }
  return i;
}

// One parameter of a signature.
struct Parameter {
  static constexpr size_t kLongestName = 32;

  char name[kLongestName] = {};
  std::string_view value; // the default as Python writes it; empty: there is none
  bool takes_none = false;

  constexpr Parameter() = default;
  constexpr explicit Parameter(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of('*'), text.size()));
    const size_t length = first_of(text, ":= ");
    std::copy_n(text.begin(), length, name);
    const size_t equals = first_part(text, " = ");
    value = equals == text.size() ? std::string_view() : text.substr(equals + 3);
    for (const std::string_view word : {"None", "object", "StreamOrDevice"}) {
      takes_none |= first_part(text, word) < text.size();
    }
  }
};

// A parsed signature.
struct Signature {
  static constexpr size_t kMostParameters = 13;

  std::string_view text; // "name(parameters) -> result", or without the name
  size_t name_length = 0;
  std::array<Parameter, kMostParameters> parameters;
  size_t count = 0;
  size_t positional = 0;              // the number of parameters before "*"
  bool explicit_keyword_only = false; // there is a "*"
  std::string_view first;             // the first parameter, with the separator behind it

  constexpr explicit Signature(std::string_view signature) : text(signature) {
    name_length = first_of(text, "(");
    size_t begin = name_length + 1;
    int depth = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      if (depth == 0 && (text[i] == ',' || text[i] == ')')) {
        add(text.substr(begin, i - begin));
        if (text[i] == ')') {
          break;
        }
        begin = text.find_first_not_of(' ', i + 1);
      } else {
        depth += (text[i] == '(' || text[i] == '[') - (text[i] == ')' || text[i] == ']');
      }
    }
    positional = explicit_keyword_only ? positional : count;
  }

 private:
  constexpr void add(std::string_view part) {
    if (part == "*") {
      explicit_keyword_only = true;
      positional = count;
    } else if (part != "/" && !part.empty()) {
      parameters[count++] = Parameter(part);
    }
    if (count == 1) {
      const char* begin = text.data() + name_length + 1;
      first = {begin, static_cast<size_t>(part.data() + part.size() - begin)};
    }
  }
};

// A docstring without the indentation of the source.
std::string dedented(std::string_view text);

// "def ..." for a module or a class, with the abbreviations of signatures written out.
std::string written_out(std::string_view signature, nb::handle owner);

// The same for a method. `self` takes the place of the first parameter.
std::string method_signature(const Signature& signature);

// The dedented text. If the signature has a stream, the arguments get a line about it.
std::string docstring(const Signature& signature, std::string_view text);

// The summary of a function, for the method that does the same.
std::string method_docstring(const Signature& signature, std::string_view text);

// The value of a default, evaluated with the names of the module.
nb::object default_value(std::string_view text);

namespace detail {

template <const Parameter& P>
auto argument() {
  if constexpr (!P.value.empty()) {
    return nb::arg(P.name).none() = default_value(P.value);
  } else if constexpr (P.takes_none) {
    return nb::arg(P.name).none();
  } else {
    return nb::arg(P.name);
  }
}

template <Literal Text>
struct Parsed {
  static constexpr Signature signature{Text.view()};
  static std::string name() {
    return std::string(signature.text.substr(0, signature.name_length));
  }
  template <size_t I>
  static constexpr Parameter parameter = signature.parameters[I];
};

// The parameters from `First` on; `self` of a method is not among them.
template <typename P, size_t First, typename Owner, typename F, typename... Extra>
void define_from(
    Owner& owner,
    const std::string& name,
    F f,
    const std::string& shown,
    const std::string& doc,
    const Extra&... extra) {
  constexpr const Signature& s = P::signature;
  [&]<size_t... I, size_t... J>(std::index_sequence<I...>, std::index_sequence<J...>) {
    const auto define_with = [&](const auto&... separator) {
      owner.def(
          name.c_str(),
          f,
          argument<P::template parameter<First + I>>()...,
          separator...,
          argument<P::template parameter<s.positional + J>>()...,
          nb::sig(shown.c_str()),
          doc.c_str(),
          extra...);
    };
    if constexpr (s.explicit_keyword_only) {
      define_with(nb::kw_only());
    } else {
      define_with();
    }
  }
  (std::make_index_sequence<s.positional - First>(),
   std::make_index_sequence<s.count - s.positional>());
}

} // namespace detail

// A function of a module.
template <Literal Text, typename F, typename... Extra>
void define(nb::module_& m, F f, std::string_view doc, const Extra&... extra) {
  using P = detail::Parsed<Text>;
  detail::define_from<P, 0>(
      m, P::name(), f, written_out(P::signature.text, m), docstring(P::signature, doc), extra...);
}

// A function of a module whose name is known at run time; the signature begins with "(".
template <Literal Text, typename F>
void define_named(nb::module_& m, const std::string& name, F f, std::string_view doc) {
  using P = detail::Parsed<Text>;
  detail::define_from<P, 0>(
      m, name, f, written_out(name + std::string(Text.view()), m), docstring(P::signature, doc));
}

// A method of a class; the signature begins with `self`.
template <Literal Text, typename Class, typename F, typename... Extra>
void define_method(Class& c, F f, std::string_view doc, const Extra&... extra) {
  using P = detail::Parsed<Text>;
  detail::define_from<P, 1>(
      c, P::name(), f, written_out(P::signature.text, c), docstring(P::signature, doc), extra...);
}

// The same for a name that is known at run time; the signature begins with "(self".
template <Literal Text, typename Class, typename F>
void define_method_named(Class& c, const std::string& name, F f, std::string_view doc) {
  using P = detail::Parsed<Text>;
  detail::define_from<P, 1>(
      c, name, f, written_out(name + std::string(Text.view()), c), docstring(P::signature, doc));
}

// A function of the module, and a method of the array class that does the same: `f` takes the array
// first.
template <Literal Text, typename F>
void define_both(nb::module_& m, F f, std::string_view doc) {
  using P = detail::Parsed<Text>;
  ArrayClass c = array_class();
  define<Text>(m, f, doc);
  detail::define_from<P, 1>(
      c, P::name(), f, method_signature(P::signature), method_docstring(P::signature, doc));
}

} // namespace narrows::python
