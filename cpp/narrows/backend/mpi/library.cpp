#include "narrows/backend/mpi/library.h"

#include <iterator>
#include <memory>

#include "narrows/core/errors.h"

namespace narrows::mpi {
namespace {

// Open MPI, the standard interface, MPICH.
constexpr const char* kNames[] = {
    "libmpi.so.40", "libmpi_abi.so.1", "libmpi_abi.so", "libmpi_abi.so.0", "libmpi.so.12"};

// A process has one MPI.
SharedLibrary find(const std::vector<std::string>& paths) {
  const std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  LibrarySearch search{"NARROWS_MPI_LIBRARY", names, paths, true};
  search.files.insert(search.files.end(), names.begin(), names.end());
  return find_library(search);
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
  static Library* loaded = nullptr; // never destroyed
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
  library->abi = abi_of(found);
  const auto symbol = [&](const char* name) {
    void* address = found.symbol(name);
    if (!address) {
      fail<std::runtime_error>("[init] ", found.path(), " has no ", name, ", expected MPI 3.0.");
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
