// Event: a point in a stream's work that others can wait for. It keeps the error of work that
// failed.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>

#include "narrows/runtime/fork.h"

namespace narrows {

class Event {
 public:
  void set();
  void fail(std::exception_ptr error);

  bool done() const {
    return state_.load(std::memory_order_acquire) >= State::set;
  }
  bool failed() const {
    return state_.load(std::memory_order_acquire) == State::failed;
  }

  // Returns when the event is set. Raises the error if it failed, at every call. Interruptible.
  // RuntimeError in a child after fork() if the work is the parent's.
  void wait();

  // For devices that do not report failures: threads that wait call the function now and then, and
  // it may answer with fail(). Only before other threads have the event.
  void ask(std::function<void(Event&)> question);

 private:
  enum class State : uint8_t { pending, finishing, set, failed };
  // Only the first call has an effect.
  void finish(State state, std::exception_ptr error);

  const int generation_ = fork_generation(); // of the process whose work sets it
  std::atomic<State> state_{State::pending};
  std::exception_ptr error_;
  std::function<void(Event&)> question_;
};

using EventRef = std::shared_ptr<Event>;

// Called now and then by threads that evaluate or wait. It raises an error (Interrupted, for
// example) to stop them. The Python module sets it to look for pending signals.
using InterruptCheck = void (*)();
void set_interrupt_check(InterruptCheck check);
void check_interrupt();

} // namespace narrows
