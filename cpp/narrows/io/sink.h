// Sink: what formats write to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "narrows/record/array.h"

namespace narrows {

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const void* data, uint64_t bytes) = 0;

  void write(std::string_view text) {
    write(text.data(), text.size());
  }
  // The elements, row-major.
  void write(const array& a);
  void write_zeros(uint64_t bytes);
};

// A file that is replaced in one step. Bytes go to a temporary file beside it, which takes its
// place, durably, in commit(). Without commit() the old file stays. Anything but a regular file (a
// pipe, a device) is written directly. std::system_error where the system fails.
class FileSink final : public Sink {
 public:
  FileSink(const char* op, const std::string& path);
  ~FileSink() override;
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  using Sink::write;
  // Raises when the program is interrupted.
  void write(const void* data, uint64_t bytes) override;
  void commit();
  // For other code that writes to it.
  int descriptor() const {
    return descriptor_;
  }

 private:
  void open_beside(unsigned mode, bool keeps_mode);
  [[noreturn]] void fail_system() const;

  const char* op_;
  std::string path_;      // of the file itself, if the given path is a link
  std::string temporary_; // empty if it writes directly
  int descriptor_ = -1;
};

} // namespace narrows
