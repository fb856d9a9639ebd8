// Source: the bytes of a file, or of something like one, which formats and arrays read.
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

  // Bytes, when it was opened.
  uint64_t size() const {
    return size_;
  }
  // For messages.
  const std::string& name() const {
    return name_;
  }
  // Whether arrays may read it later, and on any thread.
  bool is_lasting() const {
    return is_lasting_;
  }

 protected:
  Source(std::string name, uint64_t size, bool is_lasting)
      : name_(std::move(name)), size_(size), is_lasting_(is_lasting) {
  }
  // `count` bytes, of which the source had all when it was opened.
  virtual void read_within(uint64_t offset, void* to, uint64_t count) const = 0;
  // ValueError: there are fewer bytes now.
  [[noreturn]] void fail_shorter() const;

 private:
  std::string name_;
  uint64_t size_;
  bool is_lasting_;
};

using SourceRef = std::shared_ptr<const Source>;

// Files that are open for arrays which are not evaluated yet. Beyond that number a file is read at
// once, so that a program may load any number of files.
inline constexpr int kMostOpenFiles = 256;

// The file stays open, and thereby what it is, as long as somebody holds its source: it may be
// replaced or deleted. std::system_error if it cannot be opened.
SourceRef open_source(const char* op, const std::string& path);

// The same for a file that is open already; its descriptor is duplicated.
SourceRef open_source(const char* op, int descriptor, const std::string& name);

// `bytes` bytes from `begin` on. ValueError if the whole does not have them.
SourceRef part_of(SourceRef whole, uint64_t begin, uint64_t bytes);

} // namespace narrows
