// The engine of NCCL, with a library and a device's queue that do what the test says. Several
// processes are tested in Python.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "metal_kernels/collective.h"
#include "narrows/backend/nccl/group.h"
#include "narrows/backend/nccl/meeting_point.h"
#include "narrows/core/kernel_families.h"

namespace narrows::nccl {
namespace {

std::atomic<Status> asynchronous{Status::success};
std::atomic<int> aborted{0};
int made = 0; // communicators point here

Library library_of_test() {
  Library library;
  library.path = "test";
  library.GetUniqueId = [](UniqueId*) { return Status::success; };
  library.CommInitRankConfig = [](Communicator* c, int, UniqueId, int, Config*) {
    *c = &made;
    return Status::in_progress;
  };
  library.CommGetAsyncError = [](Communicator, Status* status) {
    *status = asynchronous;
    return Status::success;
  };
  library.CommAbort = [](Communicator) {
    ++aborted;
    return Status::success;
  };
  library.GetErrorString = [](Status) { return "an error of the test"; };
  library.GetLastError = [](Communicator) { return "its details"; };
  library.AllReduce = [](const void*, void*, size_t, Type, Operation, Communicator, Stream) {
    return Status::success;
  };
  return library;
}

class Queue final : public DeviceQueue {
 public:
  void* stream() override {
    return this;
  }
  std::function<bool()> mark() override {
    return [this] { return is_over.load(); };
  }
  void fail(const std::string& words) override {
    message = words;
    has_failed = true;
  }
  std::atomic<bool> is_over{false};
  std::atomic<bool> has_failed{false};
  std::string message;
};

class Nccl : public testing::Test {
 protected:
  void SetUp() override {
    asynchronous = Status::success;
    aborted = 0;
  }
  std::unique_ptr<NcclGroup> alone(double timeout) {
    Socket listening = listen_on(0);
    const MeetingPlace place{"localhost", port_of(listening)};
    point_ = std::make_unique<MeetingPoint>(std::move(listening), 1);
    return NcclGroup::of_all_processes(library_, place, 0, 1, timeout);
  }
  void all_sum(NcclGroup& group) {
    CollectiveParams params{};
    params.count = 4;
    params.shape[0] = 4;
    params.ndim = 1;
    group.encode(CollectiveOp::all_sum, float32, numbers_, numbers_, params, queue_);
  }
  std::string message_of_all_sum(NcclGroup& group) {
    try {
      all_sum(group);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }
  void wait_for_failure() {
    while (!queue_.has_failed) {
      std::this_thread::yield();
    }
  }

  const Library library_ = library_of_test();
  std::unique_ptr<MeetingPoint> point_;
  Queue queue_;
  float numbers_[4] = {};
};

TEST_F(Nccl, what_comes_to_its_end_is_forgotten) {
  const auto group = alone(0.05);
  queue_.is_over = true;
  for (int i = 0; i < 5; ++i) {
    all_sum(*group);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  }
  group->look_after();
  EXPECT_FALSE(queue_.has_failed);
  EXPECT_EQ(aborted, 0);
}

TEST_F(Nccl, what_does_not_is_taken_off_the_stream) {
  const auto group = alone(0.1);
  all_sum(*group);
  wait_for_failure();
  EXPECT_EQ(
      queue_.message,
      "[all_sum] rank 0 of 1: it has not come to its end in 0.1 s, although all processes had come "
      "to it.");
  EXPECT_NE(message_of_all_sum(*group).find("the group cannot go on"), std::string::npos);
  EXPECT_EQ(aborted, 1);
}

TEST_F(Nccl, an_error_of_the_library_on_the_stream) {
  const auto group = alone(60);
  all_sum(*group);
  asynchronous = static_cast<Status>(6);
  wait_for_failure();
  EXPECT_EQ(queue_.message, "[all_sum] rank 0 of 1: NCCL says: an error of the test: its details.");
}

TEST_F(Nccl, an_error_of_the_library_at_once) {
  const auto group = alone(60);
  asynchronous = static_cast<Status>(6);
  EXPECT_NE(
      message_of_all_sum(*group).find("NCCL (test) says: an error of the test: its details."),
      std::string::npos);
  EXPECT_FALSE(queue_.has_failed); // nothing was on the stream
  EXPECT_NE(message_of_all_sum(*group).find("the group cannot go on"), std::string::npos);
}

TEST_F(Nccl, a_meeting_point_that_is_gone) {
  const auto group = alone(60);
  point_.reset();
  EXPECT_NE(message_of_all_sum(*group).find("rank 0 has died"), std::string::npos);
}

TEST_F(Nccl, reductions_that_it_has) {
  const auto group = alone(60);
  for (int i = 0; i < kDtypeCount; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    const bool is_short = dtype == int16 || dtype == uint16;
    EXPECT_EQ(group->has(CollectiveOp::all_sum, dtype), !is_short);
    EXPECT_EQ(group->has(CollectiveOp::all_max, dtype), !is_short && !is_inexact(dtype));
    EXPECT_TRUE(group->has(CollectiveOp::all_gather, dtype));
  }
}

} // namespace
} // namespace narrows::nccl
