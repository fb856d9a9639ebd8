// Source: bytes that formats and arrays read, those of a file or of something like it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace narrows {

class Source {
 public:
  virtual ~Source() = default;

  // Reads `count` bytes from `offset` on. ValueError if the source does not have them.
  void read(uint64_t offset, void* to, uint64_t count) const;

  // The number of bytes when it was opened.
  uint64_t size() const {
    return size_;
  }
  // Its name in messages.
  const std::string& name() const {
    return name_;
  }
  // Whether arrays may read it later, on any thread.
  bool is_lasting() const {
    return is_lasting_;
  }

 protected:
  Source(std::string name, uint64_t size, bool is_lasting)
      : name_(std::move(name)), size_(size), is_lasting_(is_lasting) {
  }
  // Reads `count` bytes, which were there when the source was opened.
  virtual void read_within(uint64_t offset, void* to, uint64_t count) const = 0;
  // ValueError: the source has become shorter.
  [[noreturn]] void fail_shorter() const;

 private:
  std::string name_;
  uint64_t size_;
  bool is_lasting_;
};

using SourceRef = std::shared_ptr<const Source>;

// The most files that are kept open for arrays that are not evaluated yet. Further files are read
// at once, so that a program may load any number of them.
inline constexpr int kMostOpenFiles = 256;

// The file stays open as long as somebody holds its source, so it may be replaced or deleted
// meanwhile. std::system_error if it cannot be opened.
SourceRef open_source(const char* op, const std::string& path);

// The same for a file that is open already. Its descriptor is duplicated.
SourceRef open_source(const char* op, int descriptor, const std::string& name);

// Part of a source: `bytes` bytes from `begin` on. ValueError if the whole does not have them.
SourceRef part_of(SourceRef whole, uint64_t begin, uint64_t bytes);

} // namespace narrows
