#include "narrows/record/pending.h"

#include <gtest/gtest.h>

#include <thread>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/slice.h"
#include "narrows/order/settings.h"
#include "narrows/run/evaluate.h"
#include "narrows/walk/linearize.h"
#include "null_device.h"

namespace narrows {
namespace {

// Counts from what other tests left. There are no bounds before and after.
class Pending : public NullDevice {
 protected:
  Pending() {
    set_auto_eval({});
  }
  ~Pending() override {
    set_auto_eval({});
  }
  // Evaluates what other tests left pending (the state of the random numbers, for example).
  static void SetUpTestSuite() {
    set_auto_eval({.nodes = 1});
    eval(exp(zeros({8})));
    set_auto_eval({});
    ASSERT_EQ(get_pending_nodes(), 0);
  }
  int64_t pending() const {
    return get_pending_nodes() - before_;
  }

 private:
  const int64_t before_ = get_pending_nodes();
};

TEST_F(Pending, NodesLeaveByEvaluationAndByTheirEnd) {
  std::vector<array> arrays;
  for (int i = 0; i < 1000; ++i) {
    arrays.push_back(exp(zeros({8})));
  }
  EXPECT_EQ(pending(), 2000);
  for (size_t i = 0; i < arrays.size(); i += 3) { // gaps of all kinds
    eval(arrays[i]);
  }
  EXPECT_EQ(pending(), 2000 - 2 * 334);
  arrays.resize(500);
  EXPECT_EQ(pending(), 2 * (500 - 167));
  eval(arrays);
  EXPECT_EQ(pending(), 0);
}

TEST_F(Pending, TheOldestIsTold) {
  EXPECT_EQ(pending_work().oldest_op, "");
  array first = sin(array(1.0f));
  const array second = exp(array(1.0f));
  std::vector<array> others;
  for (int i = 0; i < 300; ++i) {
    others.push_back(zeros({16}));
  }
  PendingWork work = pending_work();
  EXPECT_EQ(work.oldest_op, "sin");
  EXPECT_EQ(work.oldest_age, 301);
  EXPECT_EQ(work.bytes, 2 * 4 + 300 * 64);
  eval(first);
  EXPECT_EQ(pending_work().oldest_op, "exp");
  EXPECT_EQ(pending_work().oldest_age, 300);
}

TEST_F(Pending, ABoundEvaluatesWhatIsHeld) {
  const int64_t evaluations = auto_eval_count();
  set_auto_eval({.nodes = 10});
  const array held = zeros({8});
  array last = held;
  for (int i = 0; i < 10; ++i) { // with `held`, 11 nodes
    EXPECT_EQ(auto_eval_count(), evaluations);
    last = exp(last);
  }
  EXPECT_EQ(auto_eval_count(), evaluations + 1);
  EXPECT_EQ(pending(), 0);
  EXPECT_TRUE(held.is_ready());
  EXPECT_TRUE(last.is_ready());
}

TEST_F(Pending, OutputsOfOneNodeAreFoundOneByOne) {
  set_auto_eval({.nodes = 1});
  {
    const AutoEvalPause pause;
    std::vector<array> parts = split(zeros({8, 2}), 2);
    parts.pop_back();
    EXPECT_GE(pending(), 2);
  }
  const array other = zeros({2});
  EXPECT_EQ(
      pending(), 1); // arrays without a handle are gone, and one pending node is within the bound
}

TEST_F(Pending, NothingStartsInAPause) {
  set_auto_eval({.nodes = 5});
  std::vector<array> arrays;
  {
    const AutoEvalPause pause;
    for (int i = 0; i < 20; ++i) {
      const AutoEvalPause inner;
      arrays.push_back(zeros({8}));
    }
    EXPECT_EQ(pending(), 20);
  }
  EXPECT_EQ(pending(), 20);
  arrays.push_back(zeros({8}));
  EXPECT_EQ(pending(), 0);
}

TEST_F(Pending, BytesAreCountedFromWhenTheyAreBounded) {
  const array earlier = zeros({1000});
  const array small = zeros({10});
  set_auto_eval({.bytes = 4100});
  EXPECT_EQ(pending(), 2); // setting a bound evaluates nothing
  const array other = zeros({10});
  EXPECT_EQ(pending(), 3); // 4080 bytes
  const array last = zeros({10});
  EXPECT_EQ(pending(), 0); // 4120
}

TEST_F(Pending, WorkOfOtherThreadsIsLeftToThem) {
  set_auto_eval({.nodes = 10});
  std::vector<array> theirs;
  std::thread([&] {
    for (int i = 0; i < 8; ++i) {
      theirs.push_back(zeros({8}));
    }
  }).join();
  std::vector<array> mine;
  for (int i = 0; i < 3; ++i) {
    mine.push_back(zeros({8}));
  }
  EXPECT_EQ(pending(), 8);
  for (int i = 0; i < 10; ++i) { // what was left does not count
    mine.push_back(zeros({8}));
    EXPECT_EQ(pending(), 9 + i);
  }
  mine.push_back(zeros({8}));
  EXPECT_EQ(pending(), 8);
  EXPECT_FALSE(theirs[0].is_ready());
}

TEST_F(Pending, ThreadsRecordAndDropAtOnce) {
  set_auto_eval({.nodes = 100});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      array a = zeros({8});
      for (int i = 0; i < 2000; ++i) {
        const array dropped = exp(a);
        a = add(a, dropped);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(pending(), 0);
}

TEST_F(Pending, BadBoundsAreRefused) {
  set_auto_eval({.bytes = 7, .nodes = 8});
  EXPECT_THROW(set_auto_eval({.nodes = -1}), ValueError);
  EXPECT_THROW(set_auto_eval({.bytes = -1}), ValueError);
  const AutoEval bounds = set_auto_eval({});
  EXPECT_EQ(bounds.bytes, 7);
  EXPECT_EQ(bounds.nodes, 8);
}

} // namespace
} // namespace narrows
