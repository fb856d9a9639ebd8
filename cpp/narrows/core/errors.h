// The exception classes. Each becomes the Python exception of the same name.
#pragma once

#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace narrows {

// ValueError: an argument has the right type and an impossible value.
struct ValueError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// IndexError: an axis or index is out of range.
struct IndexError : std::out_of_range {
  using std::out_of_range::out_of_range;
};

// TypeError: an argument has the wrong type or dtype.
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// OverflowError: a size or an integer does not fit in 64 bits.
struct OverflowError : std::overflow_error {
  using std::overflow_error::overflow_error;
};

// MemoryError: there is no memory for a buffer, or the allocation would pass a strict limit.
struct MemoryError : std::bad_alloc {
  explicit MemoryError(std::string message) : message_(std::move(message)) {
  }
  const char* what() const noexcept override {
    return message_.c_str();
  }

 private:
  std::string message_;
};

// KeyboardInterrupt: an evaluation was stopped between two steps.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// RuntimeError is std::runtime_error itself.

// Joins its arguments into one message.
template <typename... Args>
std::string concat_message(const Args&... args) {
  std::ostringstream stream;
  (stream << ... << args);
  return stream.str();
}

template <typename Error, typename... Args>
[[noreturn]] void fail(const Args&... args) {
  throw Error(concat_message(args...));
}

} // namespace narrows
