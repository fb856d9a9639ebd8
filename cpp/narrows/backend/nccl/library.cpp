#include "narrows/backend/nccl/library.h"

#include <memory>
#include <mutex>

#include "narrows/core/errors.h"
#include "narrows/runtime/shared_library.h"

namespace narrows::nccl {
namespace {

constexpr const char* kName = "libnccl.so.2";
constexpr int kOldestVersion = 21800;

SharedLibrary find(const std::vector<std::string>& paths) {
  LibrarySearch search{"NARROWS_NCCL_LIBRARY", {kName}, paths};
  search.files.emplace_back(kName);
  return find_library(search);
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
  static const Library* loaded = nullptr; // never destroyed
  std::lock_guard lock(mutex);
  if (loaded) {
    return loaded;
  }
  const SharedLibrary found = find(paths);
  if (!found) {
    return nullptr;
  }
  auto library = std::make_unique<Library>();
  library->path = found.path();
  const auto symbol = [&](const char* name) {
    void* address = found.symbol(name);
    if (!address) {
      fail<std::runtime_error>("[init] ", found.path(), " has no ", name, ", expected NCCL 2.18.");
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
        found.path(),
        " is NCCL of version ",
        version,
        ", expected 2.18 (21800) or later.");
  }
  loaded = library.release();
  return loaded;
}

} // namespace narrows::nccl
