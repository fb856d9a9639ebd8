#include "narrows/backend/cuda/library_call.h"

#include <atomic>

namespace narrows::cuda {
namespace {

uint64_t next_number() {
  static std::atomic<uint64_t> plans{0};
  return ++plans;
}

} // namespace

LibraryPlan::LibraryPlan() : number_(next_number()) {
}

} // namespace narrows::cuda
