// Allocations that fail on purpose. With NARROWS_FAIL_ALLOCATION_EVERY in the environment every
// test of this program runs so, and none may leave memory or pending work behind.
// tools/run_with_faults.py checks how the tests end.
#include <gtest/gtest.h>

#include <iostream>

#include "narrows/narrows.h"
#include "narrows/record/pending.h"

namespace narrows {
namespace {

// Switches the failures off while it lives.
class NoFaults {
 public:
  NoFaults() : period_(set_allocation_faults(0)) {
  }
  ~NoFaults() {
    set_allocation_faults(period_);
  }

 private:
  int64_t period_;
};

struct Counts {
  int64_t active;
  int64_t buffers;
  int64_t pending;
};

// Waits until all work has ended. Each worker raises its error once.
Counts counts_when_idle() {
  for (bool idle = false; !idle;) {
    try {
      synchronize();
      idle = true;
    } catch (const std::exception&) {
    }
  }
  return {get_active_memory(), get_live_buffers(), get_pending_nodes()};
}

class NothingIsLeft final : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo&) override {
    const NoFaults off;
    random::seed(0); // else a sequence of keys is left
    before_ = counts_when_idle();
  }
  void OnTestEnd(const testing::TestInfo&) override {
    const NoFaults off;
    random::seed(0);
    const Counts after = counts_when_idle();
    EXPECT_EQ(after.active, before_.active) << "LEFT";
    EXPECT_EQ(after.buffers, before_.buffers) << "LEFT";
    EXPECT_EQ(after.pending, before_.pending) << "LEFT";
  }
  Counts before_{};
};

class FaultEnvironment final : public testing::Environment {
  void SetUp() override {
    const int64_t period = set_allocation_faults(0);
    set_allocation_faults(period);
    if (period > 0) {
      testing::UnitTest::GetInstance()->listeners().Append(new NothingIsLeft);
    }
  }
  void TearDown() override {
    std::cout << "allocations that failed on purpose: " << allocation_faults() << "\n";
  }
};

[[maybe_unused]] testing::Environment* const environment =
    testing::AddGlobalTestEnvironment(new FaultEnvironment);

} // namespace
} // namespace narrows
