#include "narrows/runtime/registry.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "narrows/backend/cpu/backend.h"
#if NARROWS_EMULATED_GPU
#include "narrows/backend/emulated/backend.h"
#endif
#if NARROWS_METAL
#include "narrows/backend/cpu/memory.h"
#include "narrows/backend/metal/backend.h"
#endif
#include "narrows/backend/mpi/engine.h"
#include "narrows/backend/nccl/engine.h"
#include "narrows/backend/null/backend.h"
#include "narrows/runtime/process_group.h"
#include "narrows/runtime/shared_library.h"

namespace narrows {
namespace {

bool is_set(const char* variable, std::string_view value) {
  const char* text = std::getenv(variable);
  return text && text == value;
}

// The backend of a library beside this one; nullptr if there is no such library, or if it finds no
// device or driver.
Backend* load_backend(const char* library, const char* function) {
  const std::string here = directory_of(reinterpret_cast<const void*>(&make_backend));
  Backend* (*make)() = nullptr;
  return SharedLibrary::open(here + library).find(make, function) ? make() : nullptr;
}

Backend* make_gpu_backend() {
#if NARROWS_EMULATED_GPU
  if (is_set("NARROWS_EMULATED_GPU", "1")) {
    return is_set("NARROWS_EMULATED_GPU_MEMORY", "separate") ? emulated::separate_emulated_backend()
                                                             : emulated::emulated_backend();
  }
#endif
#if NARROWS_METAL
  if (Backend* metal = metal::metal_backend()) {
    // The CPU and the GPU have one memory: arrays of the CPU lie where the GPU can address them.
    cpu::set_host_memory(&metal->memory());
    return metal;
  }
#endif
  return load_backend("libnarrows_cuda.so", "narrows_cuda_backend");
}

} // namespace

Backend* make_backend(Device::Type type) {
  if (type == Device::Type::gpu) {
    return make_gpu_backend();
  }
  if (is_set("NARROWS_BACKEND", "null")) {
    return null_backend();
  }
  return cpu::cpu_backend();
}

const Engine* find_engine(std::string_view name) {
  for (const Engine* engine : {&mpi::kEngine, &nccl::kEngine}) {
    if (name == engine->name) {
      return engine;
    }
  }
  return nullptr;
}

} // namespace narrows
