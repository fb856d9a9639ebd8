#include "narrows/runtime/wait.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "narrows/runtime/event.h"

namespace narrows {
namespace {

constexpr std::chrono::milliseconds kPeriod{20}; // between two checks for interrupts

struct Waits {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<unsigned long> version{0};
  std::atomic<int> waiting{0};
};

Waits* all_waits = nullptr;

// Never destroyed: threads may wait while static objects are destroyed. A child after fork() gets a
// new one, because a thread of the parent may have held the lock.
Waits& waits() {
  static const bool created = [] {
    all_waits = new Waits;
    pthread_atfork(nullptr, nullptr, [] { all_waits = new Waits; });
    return true;
  }();
  (void)created;
  return *all_waits;
}

std::atomic<const HostLock*> host_lock{nullptr};
thread_local ShownWait* shown = nullptr;
thread_local int host_lock_kept = 0;

} // namespace

// While it lives, this thread waits.
class WaitScope {
 public:
  WaitScope(detail::Over over, const void* context)
      : waits_(waits()), lock_(host_lock_kept ? nullptr : host_lock.load()) {
    host_state_ = lock_ ? lock_->let_go() : nullptr;
    if (shown) {
      shown->show(over, context);
      notify_waits(); // for threads that would wait for this thread
    }
    ++waits_.waiting;
  }
  ~WaitScope() {
    --waits_.waiting;
    if (shown) {
      shown->show(nullptr, nullptr);
    }
    if (host_state_) {
      lock_->take(host_state_);
    }
  }
  WaitScope(const WaitScope&) = delete;
  WaitScope& operator=(const WaitScope&) = delete;

  // Returns when something has changed since `version`, or after a while.
  void sleep(unsigned long version) {
    std::unique_lock lock(waits_.mutex);
    if (waits_.version == version) {
      waits_.changed.wait_for(lock, kPeriod);
    }
  }

 private:
  Waits& waits_;
  const HostLock* lock_;
  void* host_state_;
};

void detail::wait_until(Over over, const void* context) {
  if (over(context)) {
    return;
  }
  WaitScope scope(over, context);
  for (;;) {
    const unsigned long version = wait_version();
    if (over(context)) {
      return;
    }
    check_interrupt();
    scope.sleep(version);
  }
}

void detail::poll_until(Poll over, void* context, bool sleeps) {
  if (over(context)) {
    return;
  }
  std::atomic<bool> done{false};
  WaitScope scope(
      [](const void* flag) { return static_cast<const std::atomic<bool>*>(flag)->load(); }, &done);
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Clock::time_point checked = start;
  while (!over(context)) {
    const Clock::time_point now = Clock::now();
    if (now - checked > kPeriod) {
      check_interrupt();
      checked = now;
    }
    if (!sleeps || now - start < kPeriod) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  done = true;
}

void notify_waits() {
  Waits& all = waits();
  ++all.version;
  if (all.waiting > 0) {
    // A thread that has seen the old version either sleeps, or has not taken the lock yet.
    { std::lock_guard lock(all.mutex); }
    all.changed.notify_all();
  }
}

unsigned long wait_version() {
  return waits().version;
}

HostLockKept::HostLockKept() {
  ++host_lock_kept;
}

HostLockKept::~HostLockKept() {
  --host_lock_kept;
}

void set_host_lock(const HostLock* lock) {
  host_lock = lock;
}

bool ShownWait::is_waiting() const {
  std::lock_guard lock(mutex_);
  return over_ && !over_(context_);
}

void ShownWait::show(detail::Over over, const void* context) {
  std::lock_guard lock(mutex_);
  over_ = over;
  context_ = context;
}

void show_waits_of_this_thread(ShownWait* to) {
  shown = to;
}

} // namespace narrows
