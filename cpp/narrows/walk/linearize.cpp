#include "narrows/walk/linearize.h"

#include "narrows/record/trace.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/fork.h"

namespace narrows {

std::mutex& graph_mutex() {
  static std::mutex* mutex = [] {
    auto* created = new std::mutex;
    hold_over_fork({created, &trace_families_mutex(), &allocator_mutex()});
    return created;
  }();
  return *mutex;
}

uint64_t next_epoch() {
  static uint64_t epoch = 0;
  return ++epoch;
}

} // namespace narrows
