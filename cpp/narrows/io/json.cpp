#include "narrows/io/json.h"

#include <charconv>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

void add_utf8(std::string& to, uint32_t code) {
  const auto add = [&](uint32_t lead, int shift) {
    to.push_back(static_cast<char>(lead | code >> shift));
    while (shift > 0) {
      shift -= 6;
      to.push_back(static_cast<char>(0x80 | (code >> shift & 0x3f)));
    }
  };
  code < 0x80      ? add(0, 0)
  : code < 0x800   ? add(0xc0, 6)
  : code < 0x10000 ? add(0xe0, 12)
                   : add(0xf0, 18);
}

} // namespace

void JsonReader::fail_expected(std::string_view expected) const {
  fail<ValueError>(what_, ", byte ", at_, ": expected ", expected, ".");
}

void JsonReader::skip_blanks() {
  while (at_ < text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != text_.npos) {
    ++at_;
  }
}

bool JsonReader::take(char c) {
  skip_blanks();
  const bool found = at_ < text_.size() && text_[at_] == c;
  at_ += found ? 1 : 0;
  return found;
}

void JsonReader::expect(char c) {
  if (!take(c)) {
    fail_expected(std::string("'") + c + "'");
  }
}

std::string JsonReader::string() {
  expect('"');
  std::string result;
  for (;;) {
    const size_t plain = text_.find_first_of("\"\\", at_);
    if (plain == text_.npos) {
      fail_expected("the end of a string");
    }
    result.append(text_.substr(at_, plain - at_));
    at_ = plain + 1;
    if (text_[plain] == '"') {
      return result;
    }
    add_escaped(result);
  }
}

uint32_t JsonReader::hex_digits() {
  uint32_t code = 0;
  const std::string_view digits = text_.substr(at_, 4);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (error != std::errc() || end != digits.data() + 4) {
    fail_expected("four hexadecimal digits");
  }
  at_ += 4;
  return code;
}

void JsonReader::add_escaped(std::string& to) {
  const char c = at_ < text_.size() ? text_[at_++] : '\0';
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  if (const size_t i = kNames.find(c); i != kNames.npos) {
    to.push_back(kValues[i]);
    return;
  }
  if (c != 'u') {
    fail_expected("an escape sequence");
  }
  uint32_t code = hex_digits();
  if (code >= 0xd800 && code < 0xe000) { // one half of a surrogate pair
    const bool is_first = code < 0xdc00 && text_.substr(at_, 2) == "\\u";
    at_ += is_first ? 2 : 0;
    const uint32_t second = is_first ? hex_digits() : 0;
    if (second < 0xdc00 || second >= 0xe000) {
      fail_expected("a surrogate pair");
    }
    code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
  }
  add_utf8(to, code);
}

int64_t JsonReader::count() {
  skip_blanks();
  const std::string_view rest = text_.substr(at_);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc() || value < 0) {
    fail_expected("an integer of at least 0");
  }
  at_ += static_cast<size_t>(end - rest.data());
  return value;
}

void JsonReader::end() {
  skip_blanks();
  if (at_ != text_.size()) {
    fail_expected("the end");
  }
}

std::string json_string(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result.push_back('\\');
      result.push_back(c);
    } else if (byte < 0x20) {
      result += {'\\', 'u', '0', '0', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      result.push_back(c);
    }
  }
  result.push_back('"');
  return result;
}

} // namespace narrows
