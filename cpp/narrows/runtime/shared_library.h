// Libraries that are loaded at run time, where they are there.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace narrows {

// A library that is open. It is never closed: libraries have threads and memory of their own.
class SharedLibrary {
 public:
  // None.
  SharedLibrary() = default;
  // The file of this path or, of a name without a directory, the one that the system finds.
  static SharedLibrary open(const std::string& path);
  // The same, if the process has loaded it already.
  static SharedLibrary loaded(const std::string& path);

  explicit operator bool() const {
    return handle_ != nullptr;
  }
  // As it was opened.
  const std::string& path() const {
    return path_;
  }
  // The address of a function or an object; nullptr if there is no such name.
  void* symbol(const char* name) const;
  // Returns whether there is such a function.
  template <typename F>
  bool find(F& function, const char* name) const {
    function = reinterpret_cast<F>(symbol(name));
    return function != nullptr;
  }

 private:
  SharedLibrary(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {
  }

  void* handle_ = nullptr;
  std::string path_;
};

// Where a library is looked for: in the file that an environment variable names, and in no other if
// it does; among those that the process has loaded; in files, the first that there is.
struct LibrarySearch {
  const char* variable;
  std::vector<std::string> names; // under which it may be loaded
  std::vector<std::string> files;
  bool prefers_loaded = false; // to the one that the variable names
};
SharedLibrary find_library(const LibrarySearch& search);

// The file of the library, or the program, that contains a function or an object; empty if that is
// not known.
std::string file_of(const void* address);
// Its directory, with a / at the end; empty if that is not known.
std::string directory_of(const void* address);

} // namespace narrows
