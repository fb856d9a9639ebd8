// The thread behind a stream: runs the jobs of asynchronous evaluations in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>

#include "narrows/runtime/device.h"

namespace narrows {

class Worker {
 public:
  // Jobs run one after the other. What a job throws is raised by the next drain().
  void post(std::function<void()> job);

  // Waits until no job is left. Interruptible.
  void wait_idle();

  // The same, then raises what a job threw since the last drain().
  void drain();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::exception_ptr error_;
  bool started_ = false;
  bool busy_ = false;
};

Worker& worker_for(Stream stream);
void drain_all_workers();

// Waits until all workers are idle; at once on a worker's own thread.
void wait_for_workers();

} // namespace narrows
