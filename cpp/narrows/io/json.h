// What headers need of JSON: objects, lists, strings and counts, read one after the other as the
// caller expects them. Anything else is refused where it stands, so that nothing is kept of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace narrows {

class JsonReader {
 public:
  // `what` begins the messages.
  JsonReader(std::string_view text, std::string what) : text_(text), what_(std::move(what)) {
  }

  // Calls member(key), which reads the value, for each member.
  template <typename Member>
  void object(Member&& member) {
    expect('{');
    if (take('}')) {
      return;
    }
    do {
      const std::string key = string();
      expect(':');
      member(key);
    } while (take(','));
    expect('}');
  }
  // Calls item(), which reads it, for each item.
  template <typename Item>
  void list(Item&& item) {
    expect('[');
    if (take(']')) {
      return;
    }
    do {
      item();
    } while (take(','));
    expect(']');
  }
  std::string string();
  // An integer from 0 to 2^63 - 1.
  int64_t count();
  // ValueError unless only blanks follow.
  void end();

 private:
  [[noreturn]] void fail_expected(std::string_view expected) const;
  void skip_blanks();
  bool take(char c);
  void expect(char c);
  uint32_t hex_digits();
  void add_escaped(std::string& to);

  std::string_view text_;
  size_t at_ = 0;
  std::string what_;
};

// The text in quotes.
std::string json_string(std::string_view text);

} // namespace narrows
