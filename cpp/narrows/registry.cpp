#include "narrows/runtime/registry.h"

#include <cstdlib>
#include <string_view>

#include "narrows/backend/cpu/backend.h"
#include "narrows/backend/null/backend.h"

namespace narrows {

Backend* make_backend(Device::Type type) {
  if (type != Device::Type::cpu) {
    return nullptr;
  }
  const char* name = std::getenv("NARROWS_BACKEND");
  if (name && std::string_view(name) == "null") {
    return null_backend();
  }
  return cpu::cpu_backend();
}

} // namespace narrows
