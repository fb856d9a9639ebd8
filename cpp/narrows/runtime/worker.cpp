#include "narrows/runtime/worker.h"

#include <pthread.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "narrows/core/errors.h"
#include "narrows/runtime/event.h"

namespace narrows {
namespace {

struct Workers {
  std::mutex mutex;
  std::map<int, std::unique_ptr<Worker>> by_stream;
};

Workers* all_workers = nullptr;

// Never destroyed: the threads run until the process ends. A child after fork() gets new,
// threadless workers; the parent's are left alone, since their locks may be held.
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

void Worker::post(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  if (!started_) {
    started_ = true;
    std::thread([this] { run(); }).detach();
  }
  changed_.notify_all();
}

void Worker::run() {
  on_worker_thread = true;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !jobs_.empty(); });
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    job = nullptr; // frees what the job holds before anyone is told that it is done
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
    }
    changed_.notify_all();
  }
}

void Worker::wait_idle() {
  std::unique_lock lock(mutex_);
  while (busy_ || !jobs_.empty()) {
    changed_.wait_for(lock, std::chrono::milliseconds(20));
    lock.unlock();
    check_interrupt();
    lock.lock();
  }
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
  auto& worker = all.by_stream[stream.index];
  if (!worker) {
    worker = std::make_unique<Worker>();
  }
  return *worker;
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

} // namespace narrows
