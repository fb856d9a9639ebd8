// The thread behind a stream: runs the jobs of asynchronous evaluations in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "narrows/runtime/device.h"
#include "narrows/runtime/wait.h"

namespace narrows {

class Worker {
 public:
  // Jobs run one after the other. The next drain() raises what a job throws.
  using Jobs = std::list<std::function<void()>>;
  void post(std::function<void()> job) {
    post(prepare(std::move(job)));
  }
  // post() in two parts: prepare() may fail, posting what it returned cannot.
  Jobs prepare(std::function<void()> job);
  void post(Jobs prepared) noexcept;

  // The number of jobs that were posted.
  uint64_t posted() const {
    return posted_;
  }
  // Whether that many jobs have ended and have freed what they held.
  bool has_finished(uint64_t jobs) const {
    return finished_ >= jobs;
  }
  // Whether its job waits for something that has not happened.
  bool is_waiting() const {
    return wait_.is_waiting();
  }

  // Waits until the jobs that were posted so far have ended. Interruptible.
  void wait_idle();

  // The same, then raises what a job threw since the last drain().
  void drain();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  Jobs jobs_;
  std::exception_ptr error_;
  bool started_ = false;
  std::atomic<uint64_t> posted_{0};
  std::atomic<uint64_t> finished_{0};
  ShownWait wait_;
};

Worker& worker_for(Stream stream);
void drain_all_workers();

// Waits until all jobs that workers have at this moment have ended. Returns at once on a worker's
// own thread.
void wait_for_workers();

// For callers that hold what workers may need: waits for workers, but for none that waits itself.
// Returns at once on a worker's own thread.
class RunningWorkers {
 public:
  RunningWorkers();
  // Whether any worker still runs jobs of the time when this object was made, and does not wait.
  bool any() const;
  // Returns when there is no such worker. Interruptible.
  void wait() const;

 private:
  struct Jobs {
    Worker* worker;
    uint64_t count;
  };
  std::vector<Jobs> jobs_;
};

} // namespace narrows
