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
  // Jobs run one after the other. What a job throws is raised by the next drain().
  using Jobs = std::list<std::function<void()>>;
  void post(std::function<void()> job) {
    post(prepare(std::move(job)));
  }
  // In two parts: all that can fail, and the posting of what was prepared.
  Jobs prepare(std::function<void()> job);
  void post(Jobs prepared) noexcept;

  // Jobs so far.
  uint64_t posted() const {
    return posted_;
  }
  // Whether as many have ended, and what they held is free.
  bool has_finished(uint64_t jobs) const {
    return finished_ >= jobs;
  }
  // Whether its job waits for something that has not come.
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

// Waits until the jobs that all workers have got so far have ended; at once on a worker's own
// thread.
void wait_for_workers();

// The same for who holds something that workers may want: waits for no worker while that waits
// itself. At once on a worker's own thread.
class RunningWorkers {
 public:
  RunningWorkers();
  // Whether a worker has not ended its jobs of the time when this was made, and does not wait.
  bool any() const;
  // Returns when there is none any more. Interruptible.
  void wait() const;

 private:
  struct Jobs {
    Worker* worker;
    uint64_t count;
  };
  std::vector<Jobs> jobs_;
};

} // namespace narrows
