// A JSON reader for headers of files: objects, lists, strings and counts, read one after the other
// as the caller expects them. Anything else is refused at once, so that nothing of it is stored.
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

  // Calls member(key) for each member, which reads the value.
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
  // Calls item() for each item, which reads it.
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
