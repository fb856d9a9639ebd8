#include "narrows/io/sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>

#include "narrows/core/errors.h"
#include "narrows/ops/shape.h"
#include "narrows/runtime/device.h"
#include "narrows/runtime/event.h"

namespace narrows {

namespace fs = std::filesystem;

void Sink::write(const array& a) {
  if (a.size() > 0) {
    const array host = contiguous(a).on_host();
    write(host.data(), static_cast<uint64_t>(host.nbytes()));
  }
}

void Sink::write_zeros(uint64_t bytes) {
  static constexpr std::array<char, 64> kZeros{};
  for (; bytes > 0; bytes -= std::min<uint64_t>(bytes, kZeros.size())) {
    write(kZeros.data(), std::min<uint64_t>(bytes, kZeros.size()));
  }
}

FileSink::FileSink(const char* op, const std::string& path) : op_(op), path_(path) {
  std::error_code none;
  const fs::path target = fs::canonical(path, none);
  if (!none) {
    path_ = target.string();
  }
  struct stat status {};
  const bool exists = stat(path_.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) {
      fail_system();
    }
    return;
  }
  if (exists && access(path_.c_str(), W_OK) != 0) {
    fail_system();
  }
  open_beside(exists ? status.st_mode & 0777 : 0666, exists);
}

void FileSink::open_beside(unsigned mode, bool keeps_mode) {
  const fs::path path(path_);
  std::random_device random;
  for (int tries = 0; descriptor_ < 0; ++tries) {
    temporary_ =
        (path.parent_path() /
         concat_message(
             ".", path.filename().string().substr(0, 100), ".", std::hex, random(), ".part"))
            .string();
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (descriptor_ < 0 && (errno != EEXIST || tries == 100)) {
      temporary_.clear();
      fail_system();
    }
  }
  if (keeps_mode) {
    fchmod(descriptor_, mode); // ignores the mask; where that is refused, the mask applies
  }
}

FileSink::~FileSink() {
  if (descriptor_ >= 0) {
    close(descriptor_);
  }
  if (!temporary_.empty()) {
    unlink(temporary_.c_str());
  }
}

void FileSink::fail_system() const {
  throw std::system_error(
      errno, std::generic_category(), concat_message("[", op_, "] the file ", path_));
}

void FileSink::write(const void* data, uint64_t bytes) {
  constexpr uint64_t kMostAtOnce = uint64_t{32} << 20;
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done =
        ::write(descriptor_, at, static_cast<size_t>(std::min(bytes, kMostAtOnce)));
    if (done < 0 && errno != EINTR) {
      fail_system();
    }
    if (done > 0) {
      at += done;
      bytes -= static_cast<uint64_t>(done);
    }
    if (bytes > 0) {
      check_interrupt();
    }
  }
}

void FileSink::commit() {
  if (temporary_.empty()) {
    return;
  }
  if (fsync(descriptor_) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail_system();
  }
  temporary_.clear();
  // Makes the new name durable, too. Not every file system can do that for a directory.
  const fs::path directory = fs::path(path_).parent_path();
  const int opened = open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened >= 0) {
    fsync(opened);
    close(opened);
  }
}

} // namespace narrows
