// Sources that are compiled when the program runs: the host's compiler makes a library of each,
// which the emulated GPU's engine runs.
#include <dlfcn.h>

#include <regex>

#include "host_compiler.h"
#include "state.h"

namespace fake_metal {
namespace {

void set_compiler(bool compiles, uint32_t most_threads) {
  std::lock_guard lock(world().mutex);
  world().compiles = compiles;
  world().most_compiled_threads = most_threads;
}

std::vector<std::string> kernels_in(const std::string& source) {
  static const std::regex kernel(R"(\nkernel void (\w+)\()");
  std::vector<std::string> names;
  for (std::sregex_iterator at(source.begin(), source.end(), kernel), end; at != end; ++at) {
    names.push_back((*at)[1]);
  }
  return names;
}

std::shared_ptr<LibraryState> compile(const std::string& source, std::string& error) {
  using namespace narrows::testing;
  {
    std::lock_guard lock(world().mutex);
    if (!world().compiles) {
      error = "nothing is compiled now";
      return nullptr;
    }
  }
  const std::vector<std::string> names = kernels_in(source);
  std::string described = source + kDescribe;
  for (const std::string& name : names) {
    described += description_of(name, "describe_" + name);
  }
  void* library = compile_library(described, error);
  if (!library) {
    return nullptr;
  }
  auto state = std::make_shared<LibraryState>();
  for (const std::string& name : names) {
    state->kernels[name] = new metal_emu::KernelInfo(describe(library, "describe_" + name));
  }
  return state;
}

} // namespace

Compiler::Compiler(uint32_t most_threads) {
  set_compiler(true, most_threads);
}

Compiler::~Compiler() {
  set_compiler(false, 1024);
}

} // namespace fake_metal

namespace MTL {

CompileOptions* CompileOptions::alloc() {
  return new CompileOptions;
}

CompileOptions* CompileOptions::init() {
  return this;
}

void CompileOptions::setFastMathEnabled(bool fastMathEnabled) {
  fake_fast_math = fastMathEnabled;
}

void CompileOptions::setLanguageVersion(LanguageVersion languageVersion) {
  fake_version = languageVersion;
}

Library* Device::newLibrary(
    const NS::String* source, const CompileOptions* options, NS::Error** error) {
  if (options->fake_fast_math || options->fake_version < LanguageVersion3_1) {
    fake_metal::fail("a source is compiled with fast math, or for a version before 3.1");
  }
  std::string reason;
  const auto compiled = fake_metal::compile(source->utf8String(), reason);
  if (!compiled) {
    auto* described = new NS::Error;
    described->fake_text = reason;
    *error = described->autorelease();
    return nullptr;
  }
  auto* library = new Library;
  library->fake_compiled = compiled;
  return library;
}

} // namespace MTL
