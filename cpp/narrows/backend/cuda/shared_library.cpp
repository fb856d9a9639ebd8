#include "narrows/backend/cuda/shared_library.h"

#include <dlfcn.h>

#include <cstdlib>

namespace narrows::cuda {
namespace {

void* open(const std::string& path, int mode = 0) {
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | mode);
}

std::string directory_of_this_library() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&open_library), &info) || !info.dli_fname) {
    return ".";
  }
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/'));
}

} // namespace

void* open_library(const char* variable, const std::string& name, const std::string& folder) {
  if (const char* named = std::getenv(variable)) {
    return open(named);
  }
  if (void* loaded = open(name, RTLD_NOLOAD)) {
    return loaded;
  }
  const std::string here = directory_of_this_library() + "/";
  for (const std::string& path :
       {name, here + name, here + "../../nvidia/" + folder + "/lib/" + name}) {
    if (void* library = open(path)) {
      return library;
    }
  }
  return nullptr;
}

void* Functions::address_of(const char* name) const {
  return library_ ? dlsym(library_, name) : nullptr;
}

} // namespace narrows::cuda
