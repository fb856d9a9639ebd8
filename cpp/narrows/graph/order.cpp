#include "narrows/graph/order.h"

#include <atomic>
#include <cstdlib>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

constexpr int64_t kDefaultWidth = 20;

int64_t width_from_environment() {
  for (const char* name : {"NARROWS_BFS_MAX_WIDTH", "MLX_BFS_MAX_WIDTH"}) {
    if (const char* text = std::getenv(name)) {
      char* end = nullptr;
      const int64_t width = std::strtoll(text, &end, 10);
      if (end == text || *end != '\0' || width < 1) {
        fail<ValueError>("[", name, "] '", text, "' is not a width, expected an integer >= 1.");
      }
      return width;
    }
  }
  return kDefaultWidth;
}

std::atomic<int64_t>& process_width() {
  static std::atomic<int64_t> width{width_from_environment()};
  return width;
}

thread_local int64_t scope_width = 0; // 0: no scope

void require_width(int64_t width) {
  if (width < 1) {
    fail<ValueError>("[bfs_max_width] width ", width, ", expected an integer >= 1.");
  }
}

} // namespace

int64_t bfs_max_width() {
  return scope_width ? scope_width : process_width().load(std::memory_order_relaxed);
}

int64_t set_bfs_max_width(int64_t width) {
  require_width(width);
  return process_width().exchange(width);
}

BfsMaxWidthScope::BfsMaxWidthScope(int64_t width) : previous_(scope_width) {
  require_width(width);
  scope_width = width;
}

BfsMaxWidthScope::~BfsMaxWidthScope() {
  scope_width = previous_;
}

} // namespace narrows
