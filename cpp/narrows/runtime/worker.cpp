#include "narrows/runtime/worker.h"

#include <pthread.h>

#include <algorithm>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "narrows/core/errors.h"

namespace narrows {
namespace {

struct Workers {
  std::mutex mutex;
  std::map<int, std::unique_ptr<Worker>> by_stream;
};

Workers* all_workers = nullptr;

// Never destroyed: the threads run until the process ends. A child after fork() gets new workers
// without threads. Those of the parent are left alone, because their locks may be held.
Workers& workers() {
  static const bool created = [] {
    all_workers = new Workers;
    pthread_atfork(nullptr, nullptr, [] { all_workers = new Workers; });
    return true;
  }();
  (void)created;
  return *all_workers;
}

std::vector<Worker*> current_workers() {
  Workers& all = workers();
  std::lock_guard lock(all.mutex);
  std::vector<Worker*> result;
  for (auto& [stream, worker] : all.by_stream) {
    result.push_back(worker.get());
  }
  return result;
}

thread_local bool on_worker_thread = false;

} // namespace

Worker::Jobs Worker::prepare(std::function<void()> job) {
  Jobs prepared;
  prepared.push_back(std::move(job));
  std::lock_guard lock(mutex_);
  if (!started_) {
    std::thread([this] { run(); }).detach();
    started_ = true;
  }
  return prepared;
}

void Worker::post(Jobs prepared) noexcept {
  std::lock_guard lock(mutex_);
  posted_ += prepared.size();
  jobs_.splice(jobs_.end(), prepared);
  changed_.notify_all();
}

void Worker::run() {
  on_worker_thread = true;
  show_waits_of_this_thread(&wait_);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !jobs_.empty(); });
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    std::exception_ptr error;
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    job = nullptr; // frees what the job holds, before anyone learns that it has ended
    lock.lock();
    if (error) {
      error_ = error;
    }
    ++finished_;
    notify_waits();
  }
}

void Worker::wait_idle() {
  wait_until([this, jobs = posted()] { return has_finished(jobs); });
}

void Worker::drain() {
  wait_idle();
  std::lock_guard lock(mutex_);
  if (error_) {
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

Worker& worker_for(Stream stream) {
  Workers& all = workers();
  std::lock_guard lock(all.mutex);
  const auto known = all.by_stream.find(stream.index);
  if (known != all.by_stream.end()) {
    return *known->second;
  }
  return *all.by_stream.emplace(stream.index, std::make_unique<Worker>()).first->second;
}

void drain_all_workers() {
  for (Worker* worker : current_workers()) {
    worker->drain();
  }
}

void wait_for_workers() {
  if (on_worker_thread) {
    return;
  }
  for (Worker* worker : current_workers()) {
    worker->wait_idle();
  }
}

RunningWorkers::RunningWorkers() {
  if (on_worker_thread) {
    return;
  }
  for (Worker* worker : current_workers()) {
    jobs_.push_back({worker, worker->posted()});
  }
}

bool RunningWorkers::any() const {
  const auto is_running = [](const Jobs& jobs) {
    return !jobs.worker->has_finished(jobs.count) && !jobs.worker->is_waiting();
  };
  // A change may let a worker go on that waited before, so all are asked again.
  unsigned long version;
  do {
    version = wait_version();
    if (std::any_of(jobs_.begin(), jobs_.end(), is_running)) {
      return true;
    }
  } while (version != wait_version());
  return false;
}

void RunningWorkers::wait() const {
  wait_until([this] { return !any(); });
}

} // namespace narrows
