// The one way to wait for other threads and for devices.
#pragma once

#include <mutex>

namespace narrows {

namespace detail {
using Over = bool (*)(const void* context);
void wait_until(Over over, const void* context);
} // namespace detail

// Returns when over() says so, or raises what check_interrupt() raises: every wait can be
// interrupted. over() is asked again and again, by other threads too, under no lock that a caller
// of notify_waits() may hold; it raises nothing, and what it has said once stays so.
template <typename F>
void wait_until(const F& over) {
  detail::wait_until(
      [](const void* context) { return (*static_cast<const F*>(context))(); }, &over);
}

// To be called after each change that somebody may wait for. Takes no lock that is held while
// anything else is waited for.
void notify_waits();

// How often notify_waits() was called: where it is the same before and after several questions,
// their answers held at one time.
unsigned long wait_version();

// A lock of the program around the library (the Python interpreter's), which a thread that waits
// must not keep from others: let_go() lets go of it if this thread holds it, and says what take()
// needs to take it again (nullptr: was not held).
struct HostLock {
  void* (*let_go)();
  void (*take)(void* state);
};
void set_host_lock(const HostLock* lock);

// While it lives, waits of this thread keep the host lock: it is in the midst of something that
// others must not change. What is waited for must do without the lock.
class HostLockKept {
 public:
  HostLockKept();
  ~HostLockKept();
  HostLockKept(const HostLockKept&) = delete;
  HostLockKept& operator=(const HostLockKept&) = delete;
};

// What a thread is waiting for, for others to look at.
class ShownWait {
 public:
  // Whether it waits for something that has not come.
  bool is_waiting() const;

 private:
  friend class WaitScope;
  void show(detail::Over over, const void* context);

  mutable std::mutex mutex_;
  detail::Over over_ = nullptr; // nullptr: does not wait
  const void* context_ = nullptr;
};
// The waits of the calling thread are shown there from now on.
void show_waits_of_this_thread(ShownWait* shown);

} // namespace narrows
