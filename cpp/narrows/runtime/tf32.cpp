#include "narrows/runtime/tf32.h"

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace narrows {
namespace {

std::atomic<bool>& process_tf32() {
  static std::atomic<bool> on = [] {
    for (const char* name : {"NARROWS_ENABLE_TF32", "MLX_ENABLE_TF32"}) {
      if (const char* text = std::getenv(name)) {
        return std::string_view(text) != "0";
      }
    }
    return true;
  }();
  return on;
}

thread_local int8_t scoped_tf32 = -1; // -1: none

} // namespace

bool tf32_enabled() {
  return scoped_tf32 >= 0 ? scoped_tf32 == 1 : process_tf32().load();
}

bool set_tf32(bool on) {
  return process_tf32().exchange(on);
}

Tf32Scope::Tf32Scope(bool on)
    : previous_(std::exchange(scoped_tf32, static_cast<int8_t>(on ? 1 : 0))) {
}

Tf32Scope::~Tf32Scope() {
  scoped_tf32 = previous_;
}

} // namespace narrows
