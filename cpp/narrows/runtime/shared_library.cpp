#include "narrows/runtime/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace narrows {

SharedLibrary SharedLibrary::open(const std::string& path) {
  return {dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL), path};
}

SharedLibrary SharedLibrary::loaded(const std::string& path) {
  return {dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD), path};
}

void* SharedLibrary::symbol(const char* name) const {
  return handle_ ? dlsym(handle_, name) : nullptr;
}

namespace {

SharedLibrary find_loaded(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (SharedLibrary library = SharedLibrary::loaded(name)) {
      return library;
    }
  }
  return {};
}

} // namespace

SharedLibrary find_library(const LibrarySearch& search) {
  if (search.prefers_loaded) {
    if (SharedLibrary library = find_loaded(search.names)) {
      return library;
    }
  }
  if (const char* named = std::getenv(search.variable); named && *named) {
    return SharedLibrary::open(named);
  }
  if (SharedLibrary library = find_loaded(search.names)) {
    return library;
  }
  for (const std::string& file : search.files) {
    if (SharedLibrary library = SharedLibrary::open(file)) {
      return library;
    }
  }
  return {};
}

std::string file_of(const void* address) {
  Dl_info info;
  return dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

std::string directory_of(const void* address) {
  const std::string file = file_of(address);
  return file.substr(0, file.rfind('/') + 1);
}

} // namespace narrows
