#include "narrows/runtime/registry.h"

#include <cstdlib>
#include <string_view>

#include "narrows/backend/cpu/backend.h"
#if NARROWS_EMULATED_GPU
#include "narrows/backend/emulated/backend.h"
#endif
#if NARROWS_METAL
#include "narrows/backend/cpu/memory.h"
#include "narrows/backend/metal/backend.h"
#endif
#include "narrows/backend/null/backend.h"

namespace narrows {
namespace {

bool is_set(const char* variable, std::string_view value) {
  const char* text = std::getenv(variable);
  return text && text == value;
}

Backend* make_gpu_backend() {
#if NARROWS_EMULATED_GPU
  if (is_set("NARROWS_EMULATED_GPU", "1")) {
    return emulated::emulated_backend();
  }
#endif
#if NARROWS_METAL
  if (Backend* metal = metal::metal_backend()) {
    // Both devices have one memory: the CPU's arrays lie where the GPU can use them.
    cpu::set_host_memory(&metal->memory());
    return metal;
  }
#endif
  return nullptr;
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

} // namespace narrows
