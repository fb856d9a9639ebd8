#include "narrows/run/evaluate.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>

#include "narrows/fuse/settings.h"
#include "narrows/observe/profile.h"
#include "narrows/order/search.h"
#include "narrows/plan/run_event.h"
#include "narrows/plan/transfer.h"
#include "narrows/record/primitive.h"
#include "narrows/run/kept_plans.h"
#include "narrows/run/step.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/tf32.h"
#include "narrows/runtime/wait.h"
#include "narrows/runtime/worker.h"

namespace narrows {
namespace {

// How far a stream has come with its steps of a plan. Only plans of several streams use it.
class Progress {
 public:
  void reached(uint32_t step) {
    done_.store(static_cast<int64_t>(step) + 1, std::memory_order_release);
    notify_waits();
  }
  void stop() {
    reached(kNone);
  }
  // Returns when the step has run or never will. Interruptible.
  void wait_for(uint32_t step) const {
    wait_until([&] { return done_.load(std::memory_order_acquire) > step; });
  }

 private:
  std::atomic<int64_t> done_{0};
};

// A plan being run.
struct Run {
  Plan plan;
  bool tf32 = true; // as the thread that evaluates has it
