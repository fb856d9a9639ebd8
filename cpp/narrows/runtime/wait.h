// The one way to wait for other threads and for devices.
#pragma once

#include <mutex>
#include <type_traits>

namespace narrows {

namespace detail {
using Over = bool (*)(const void* context);
void wait_until(Over over, const void* context);
using Poll = bool (*)(void* context);
void poll_until(Poll over, void* context, bool sleeps);
} // namespace detail

// Returns when over() is true, or raises what check_interrupt() raises: every wait can be
// interrupted. over() is called many times, also by other threads, and never under a lock that a
// caller of notify_waits() may hold. It raises nothing, and once true it stays true.
template <typename F>
void wait_until(const F& over) {
  detail::wait_until(
      [](const void* context) { return (*static_cast<const F*>(context))(); }, &over);
}

// The same for what nobody notifies of, such as messages of other processes. Only this thread calls
// over(), which may raise errors. It is called all the time; if the wait `sleeps`, after a while
// only every 100 µs.
template <typename F>
void poll_until(F&& over, bool sleeps) {
  detail::poll_until(
      [](void* context) { return (*static_cast<std::remove_reference_t<F>*>(context))(); },
      &over,
      sleeps);
}

// Must be called after each change that somebody may wait for. It takes only a lock under which
// nothing waits.
void notify_waits();

// The number of calls of notify_waits(). If it is the same before and after several questions,
// their answers were all true at one moment.
unsigned long wait_version();

// A lock of the program around the library: the Python interpreter's. A thread that waits must not
// keep it. let_go() releases the lock if this thread holds it, and returns what take() needs to
// take it again (nullptr: the thread did not hold it).
struct HostLock {
  void* (*let_go)();
  void (*take)(void* state);
};
void set_host_lock(const HostLock* lock);

// While it lives, waits of this thread keep the host lock, because the thread is in the middle of
// something that others must not change. The work that it waits for must not need the lock.
class HostLockKept {
 public:
  HostLockKept();
  ~HostLockKept();
  HostLockKept(const HostLockKept&) = delete;
  HostLockKept& operator=(const HostLockKept&) = delete;
};

// What a thread is waiting for. Other threads may ask.
class ShownWait {
 public:
  // Whether the thread waits for something that has not happened.
  bool is_waiting() const;

 private:
  friend class WaitScope;
  void show(detail::Over over, const void* context);

  mutable std::mutex mutex_;
  detail::Over over_ = nullptr; // nullptr: does not wait
  const void* context_ = nullptr;
};
// From now on, waits of the calling thread are shown in this object.
void show_waits_of_this_thread(ShownWait* shown);

} // namespace narrows
