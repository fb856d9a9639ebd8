#include "narrows/io/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

std::atomic<int> open_files{0};

[[noreturn]] void fail_open(const char* op, const std::string& name, int error) {
  throw std::system_error(
      error, std::generic_category(), concat_message("[", op, "] the file ", name));
}

// Counts an open file while it lives.
class OpenFile {
 public:
  explicit OpenFile(int descriptor) : descriptor_(descriptor), count_(++open_files) {
  }
  ~OpenFile() {
    close(descriptor_);
    --open_files;
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const {
    return descriptor_;
  }
  bool is_one_too_many() const {
    return count_ > kMostOpenFiles;
  }

 private:
  int descriptor_;
  int count_;
};

class FileSource final : public Source {
 public:
  FileSource(std::unique_ptr<OpenFile> file, std::string name, uint64_t size)
      : Source(std::move(name), size, !file->is_one_too_many()), file_(std::move(file)) {
  }

 protected:
  void read_within(uint64_t offset, void* to, uint64_t count) const override {
    constexpr uint64_t kMostAtOnce = uint64_t{1} << 30; // systems refuse to read 2 GiB at once
    char* at = static_cast<char*>(to);
    while (count > 0) {
      const ssize_t got = pread(
          file_->descriptor(),
          at,
          static_cast<size_t>(std::min(count, kMostAtOnce)),
          static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        fail_open("load", name(), errno);
      }
      if (got == 0) {
        fail_shorter();
      }
      at += got;
      offset += static_cast<uint64_t>(got);
      count -= static_cast<uint64_t>(got);
    }
  }

 private:
  std::unique_ptr<OpenFile> file_;
};

class PartOfSource final : public Source {
 public:
  PartOfSource(SourceRef whole, uint64_t begin, uint64_t bytes)
      : Source(whole->name(), bytes, whole->is_lasting()), whole_(std::move(whole)), begin_(begin) {
  }

 protected:
  void read_within(uint64_t offset, void* to, uint64_t count) const override {
    whole_->read(begin_ + offset, to, count);
  }

 private:
  SourceRef whole_;
  uint64_t begin_;
};

SourceRef source_of(const char* op, int descriptor, const std::string& name) {
  if (descriptor < 0) {
    fail_open(op, name, errno);
  }
  auto file = std::make_unique<OpenFile>(descriptor);
  struct stat status {};
  if (fstat(descriptor, &status) != 0) {
    fail_open(op, name, errno);
  }
  if (S_ISDIR(status.st_mode)) {
    fail_open(op, name, EISDIR);
  }
  if (!S_ISREG(status.st_mode)) {
    fail<ValueError>("[", op, "] ", name, ", expected a regular file.");
  }
  return std::make_shared<FileSource>(
      std::move(file), name, static_cast<uint64_t>(std::max<off_t>(0, status.st_size)));
}

} // namespace

void Source::read(uint64_t offset, void* to, uint64_t count) const {
  if (offset > size_ || count > size_ - offset) {
    fail<ValueError>(
        "[load] ",
        name_,
        " has ",
        size_,
        " bytes, expected ",
        count,
        " bytes at ",
        offset,
        ": it is cut off or damaged.");
  }
  read_within(offset, to, count);
}

void Source::fail_shorter() const {
  fail<ValueError>(
      "[load] ", name_, " has become shorter than the ", size_, " bytes that it had when opened.");
}

SourceRef open_source(const char* op, const std::string& path) {
  // Opening a pipe must not wait for a writer.
  return source_of(op, open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
}

SourceRef open_source(const char* op, int descriptor, const std::string& name) {
  return source_of(op, fcntl(descriptor, F_DUPFD_CLOEXEC, 0), name);
}

SourceRef part_of(SourceRef whole, uint64_t begin, uint64_t bytes) {
  if (begin > whole->size() || bytes > whole->size() - begin) {
    fail<ValueError>(
        "[load] ",
        whole->name(),
        " has ",
        whole->size(),
        " bytes, expected a part of ",
        bytes,
        " bytes at ",
        begin,
        ".");
  }
  return std::make_shared<PartOfSource>(std::move(whole), begin, bytes);
}

} // namespace narrows
