// Libraries of NVIDIA that are loaded at run time, where they are there.
#pragma once

#include <string>

namespace narrows::cuda {

// Opens a library: the file that the environment variable names, if it is set; else one that the
// process has loaded already or the system finds; else one of the package that pip installs, which
// has it in a folder of `nvidia`. nullptr if it is not there.
void* open_library(const char* variable, const std::string& name, const std::string& folder);

// The functions of an open library.
class Functions {
 public:
  explicit Functions(void* library) : library_(library) {
  }
  // Returns whether there is such a function.
  template <typename F>
  bool find(F& function, const char* name) const {
    function = reinterpret_cast<F>(address_of(name));
    return function != nullptr;
  }

 private:
  void* address_of(const char* name) const;

  void* library_;
};

} // namespace narrows::cuda
