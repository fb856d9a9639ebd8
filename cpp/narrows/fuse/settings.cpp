#include "narrows/fuse/settings.h"

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace narrows {
namespace {

std::atomic<bool>& process_fusion() {
  static std::atomic<bool> on = [] {
    const char* text = std::getenv("NARROWS_FUSION");
    return !text || std::string_view(text) != "0";
  }();
  return on;
}

thread_local int8_t scoped_fusion = -1; // -1: none

} // namespace

bool fusion_enabled() {
  return scoped_fusion >= 0 ? scoped_fusion == 1 : process_fusion().load();
}

bool set_fusion(bool on) {
  return process_fusion().exchange(on);
}

FusionScope::FusionScope(bool on)
    : previous_(std::exchange(scoped_fusion, static_cast<int8_t>(on ? 1 : 0))) {
}

FusionScope::~FusionScope() {
  scoped_fusion = previous_;
}

} // namespace narrows
