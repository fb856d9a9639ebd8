#include "narrows/backend/cuda/nvrtc.h"

#include <cuda_runtime_api.h>

#include <iterator>
#include <vector>

#include "narrows/backend/cuda/nvidia_library.h"
#include "narrows/backend/gpu/kernel_headers.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

// Its interface, as nvrtc.h declares it.
using Handle = struct OpaqueProgram*;
constexpr int kSuccess = 0;

struct Library {
  int (*version)(int* major, int* minor);
  int (*create)(
      Handle* program,
      const char* text,
      const char* name,
      int header_count,
      const char* const* header_texts,
      const char* const* header_names);
  int (*destroy)(Handle* program);
  int (*compile)(Handle program, int option_count, const char* const* options);
  int (*code_size)(Handle program, size_t* size);
  int (*code)(Handle program, char* code);
  int (*log_size)(Handle program, size_t* size);
  int (*log)(Handle program, char* log);

  bool load() {
    const std::string name = "libnvrtc.so." + std::to_string(CUDART_VERSION / 1000);
    const SharedLibrary has = find_nvidia_library("NARROWS_NVRTC_LIBRARY", name, "cu13");
    return has.find(version, "nvrtcVersion") && has.find(create, "nvrtcCreateProgram") &&
           has.find(destroy, "nvrtcDestroyProgram") && has.find(compile, "nvrtcCompileProgram") &&
           has.find(code_size, "nvrtcGetCUBINSize") && has.find(code, "nvrtcGetCUBIN") &&
           has.find(log_size, "nvrtcGetProgramLogSize") && has.find(log, "nvrtcGetProgramLog");
  }
};

// nullptr if it is not found.
const Library* library() {
  static const Library* loaded = [] {
    auto* result = new Library;
    return result->load() ? result : nullptr;
  }();
  return loaded;
}

struct HeldProgram {
  Handle handle = nullptr;

  ~HeldProgram() {
    if (handle) {
      library()->destroy(&handle);
    }
  }
};

void check(int status, const char* what) {
  if (status != kSuccess) {
    fail<std::runtime_error>("[nvrtc] ", what, " failed with status ", status, ".");
  }
}

} // namespace

bool load_nvrtc() {
  return library() != nullptr;
}

std::string nvrtc_version() {
  int major = 0;
  int minor = 0;
  check(library()->version(&major, &minor), "version");
  return concat_message(major, ".", minor);
}

std::string compile_by_nvrtc(const std::string& text, const std::string& architecture) {
  const Library& nvrtc = *library();
  std::vector<const char*> names;
  std::vector<const char*> texts;
  for (size_t i = 0; i < gpu::kKernelHeaderCount; ++i) {
    names.push_back(gpu::kKernelHeaders[i].name);
    texts.push_back(gpu::kKernelHeaders[i].text);
  }
  HeldProgram program;
  check(
      nvrtc.create(
          &program.handle,
          text.c_str(),
          "fused.cu",
          static_cast<int>(names.size()),
          texts.data(),
          names.data()),
      "creation");
  // As in CMakeLists.txt: a * b + c is not contracted. All functions are for the device.
  const std::string target = "--gpu-architecture=" + architecture;
  const char* options[] = {target.c_str(), "--std=c++20", "--fmad=false", "-default-device"};
  const int status = nvrtc.compile(program.handle, std::size(options), options);
  size_t size = 0;
  if (status != kSuccess) {
    check(nvrtc.log_size(program.handle, &size), "log");
    std::string log(size, '\0');
    check(nvrtc.log(program.handle, log.data()), "log");
    fail<std::runtime_error>("[nvrtc] ", log);
  }
  check(nvrtc.code_size(program.handle, &size), "code");
  std::string code(size, '\0');
  check(nvrtc.code(program.handle, code.data()), "code");
  return code;
}

} // namespace narrows::cuda
