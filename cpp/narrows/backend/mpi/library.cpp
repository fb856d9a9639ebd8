#include "narrows/backend/mpi/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <memory>

#include "narrows/core/errors.h"

namespace narrows::mpi {
namespace {

// Open MPI, the standard interface, MPICH.
constexpr const char* kNames[] = {
    "libmpi.so.40", "libmpi_abi.so.1", "libmpi_abi.so", "libmpi_abi.so.0", "libmpi.so.12"};

struct Found {
  void* handle = nullptr;
  std::string path;
};

Found open(const std::string& path, int mode) {
  return {dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | mode), path};
}

Found find(const std::vector<std::string>& paths) {
  for (const char* name : kNames) {
    if (Found found = open(name, RTLD_NOLOAD); found.handle) {
      return found;
    }
  }
  if (const char* named = std::getenv("NARROWS_MPI_LIBRARY"); named && *named) {
    return open(named, 0);
  }
  for (const std::string& path : paths) {
    if (Found found = open(path, 0); found.handle) {
      return found;
    }
  }
  for (const char* name : kNames) {
    if (Found found = open(name, 0); found.handle) {
      return found;
    }
  }
  return {};
}

} // namespace

void Library::raise(int error) const {
  char text[1024] = "";
  int length = 0;
  if (Error_string(error, text, &length) != 0) {
    length = 0;
  }
  fail<std::runtime_error>(
      abi.name, " (", path, ") says: ", length ? text : "an error without a name", ".");
}

Library* load(const std::vector<std::string>& paths) {
  static std::mutex mutex;
  static Library* loaded = nullptr; // never closed: it has threads and memory of its own
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
  library->abi = abi_of(found.handle, found.path.c_str());
  const auto symbol = [&](const char* name) {
    void* address = dlsym(found.handle, name);
    if (!address) {
      fail<std::runtime_error>("[init] ", found.path, " has no ", name, ", expected MPI 3.0.");
    }
    return address;
  };
#define F(name, parameters) \
  library->name = reinterpret_cast<int(*) parameters>(symbol("MPI_" #name));
  NARROWS_MPI_FUNCTIONS(F)
#undef F
  loaded = library.release();
  return loaded;
}

} // namespace narrows::mpi
