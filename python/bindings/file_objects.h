// Binary files of Python, objects with read() or write(), as sources and sinks.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "narrows/io/sink.h"
#include "narrows/io/source.h"

namespace narrows::python {

// Reads the object from its position on: `size` bytes, or to its end. An object that cannot seek is
// read as a whole. Its arrays are read at once.
class PythonSource final : public Source {
 public:
  explicit PythonSource(nanobind::object file, std::optional<uint64_t> size = std::nullopt);

  // Moves the object's position to `offset`.
  void move_to(uint64_t offset) const;

 protected:
  void read_within(uint64_t offset, void* to, uint64_t count) const override;

 private:
  struct Opened {
    nanobind::object file;
    uint64_t start;
    uint64_t size;
  };
  explicit PythonSource(Opened opened);
  static Opened opened(nanobind::object file, std::optional<uint64_t> size);
  // The number of bytes that were read.
  uint64_t read_some(void* to, uint64_t count) const;

  nanobind::object file_;
  uint64_t start_;
  mutable uint64_t position_ = 0; // from the start
};

class PythonSink final : public Sink {
 public:
  explicit PythonSink(nanobind::object file) : file_(std::move(file)) {
  }
  using Sink::write;
  void write(const void* data, uint64_t bytes) override;

 private:
  nanobind::object file_;
};

// The path in a str or os.PathLike; nothing for other objects.
std::optional<std::string> path_inside(nanobind::handle file);

} // namespace narrows::python
