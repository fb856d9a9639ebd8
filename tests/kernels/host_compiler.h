// Texts of kernels, compiled by the host's compiler when tests run, for the emulated GPU's engine.
#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "metal_kernels/compat/signature.h"
#include "narrows/core/errors.h"

namespace narrows::testing {

// What stands once in a source, behind the kernels' headers, before description_of().
inline constexpr const char* kDescribe = R"(
template <typename... P>
void describe(
    const char* name,
    ::metal_emu::KernelInfo* info,
    void (*)(P...),
    ::metal_emu::ThreadFunction entry) {
  *info = {name, ::metal_emu::parameters_of<P...>(), reinterpret_cast<void*>(entry)};
}
)";

// The text of a function that describes a kernel of the source. `name`: the function's.
inline std::string description_of(const std::string& kernel, const std::string& name) {
  return concat_message(
      "extern \"C\" void ",
      name,
      "(::metal_emu::KernelInfo* info) {\n  describe(\"",
      kernel,
      "\", info, &",
      kernel,
      ", &decltype(::metal_emu::caller_of(&",
      kernel,
      "))::template run<&",
      kernel,
      ">);\n}\n");
}

// Compiles a source to a library and loads it. nullptr, and why, if that is not possible.
inline void* compile_library(const std::string& source, std::string& error) {
  static std::atomic<int> number{0};
  const std::filesystem::path base = std::filesystem::temp_directory_path() /
                                     concat_message("narrows_texts_", getpid(), "_", ++number);
  const std::string from = base.string() + ".cpp";
  const std::string to = base.string() + ".so";
  const std::string log = base.string() + ".txt";
  std::ofstream(from) << source;
  const std::string command = concat_message(
      NARROWS_TEST_COMPILER,
      " -std=c++20 -O0 -ffp-contract=off -fPIC -shared -w -I",
      NARROWS_TEST_KERNELS,
      " ",
      from,
      " -o ",
      to,
      " 2> ",
      log);
  const int status = std::system(command.c_str());
  void* library = status == 0 ? dlopen(to.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (status != 0) {
    std::ifstream lines(log);
    error.assign(std::istreambuf_iterator<char>(lines), std::istreambuf_iterator<char>());
  } else if (!library) {
    error = dlerror();
  }
  for (const std::string& path : {from, to, log}) {
    std::filesystem::remove(path);
  }
  return library;
}

// Calls a function that description_of() made.
inline metal_emu::KernelInfo describe(void* library, const std::string& name) {
  auto* function = reinterpret_cast<void (*)(metal_emu::KernelInfo*)>(dlsym(library, name.c_str()));
  metal_emu::KernelInfo kernel;
  function(&kernel);
  return kernel;
}

} // namespace narrows::testing
