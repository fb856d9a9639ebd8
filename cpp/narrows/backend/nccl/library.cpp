#include "narrows/backend/nccl/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "narrows/core/errors.h"

namespace narrows::nccl {
namespace {

constexpr const char* kName = "libnccl.so.2";
constexpr int kOldestVersion = 21800;

struct Found {
  void* handle = nullptr;
  std::string path;
};

Found open(const std::string& path, int mode) {
  return {dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | mode), path};
}

Found find(const std::vector<std::string>& paths) {
  if (const char* named = std::getenv("NARROWS_NCCL_LIBRARY"); named && *named) {
    return open(named, 0);
  }
  if (Found found = open(kName, RTLD_NOLOAD); found.handle) {
    return found;
  }
  for (const std::string& path : paths) {
    if (Found found = open(path, 0); found.handle) {
      return found;
    }
  }
  return open(kName, 0);
}

} // namespace

void Library::check(Status status, Communicator communicator) const {
  if (status == Status::success || status == Status::in_progress) {
    return;
  }
  const char* details = GetLastError(communicator);
  fail<std::runtime_error>(
      "NCCL (",
      path,
      ") says: ",
      GetErrorString(status),
      details && *details ? concat_message(": ", details) : "",
      ".");
}

const Library* load(const std::vector<std::string>& paths) {
  static std::mutex mutex;
  static const Library* loaded = nullptr; // never closed: it has threads and memory of its own
  std::lock_guard lock(mutex);
  if (loaded) {
    return loaded;
  }
  const Found found = find(paths);
  if (!found.handle) {
    return nullptr;
  }
  auto library = std::make_unique<Library>();
  library->path = found.path;
  const auto symbol = [&](const char* name) {
    void* address = dlsym(found.handle, name);
    if (!address) {
      fail<std::runtime_error>("[init] ", found.path, " has no ", name, ", expected NCCL 2.18.");
    }
    return address;
  };
#define F(name, Result, parameters) \
  library->name = reinterpret_cast<Result(*) parameters>(symbol("nccl" #name));
  NARROWS_NCCL_FUNCTIONS(F)
#undef F
  int version = 0;
  library->check(library->GetVersion(&version), nullptr);
  if (version < kOldestVersion) {
    fail<std::runtime_error>(
        "[init] ",
        found.path,
        " is NCCL of version ",
        version,
        ", expected 2.18 (21800) or later.");
  }
  loaded = library.release();
  return loaded;
}

} // namespace narrows::nccl
