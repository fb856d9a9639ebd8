#include "narrows/runtime/event.h"

#include <chrono>
#include <stdexcept>

namespace narrows {
namespace {

std::atomic<InterruptCheck> interrupt_check{nullptr};
constexpr std::chrono::milliseconds kInterruptPeriod{20};

} // namespace

void set_interrupt_check(InterruptCheck check) {
  interrupt_check.store(check);
}

void check_interrupt() {
  InterruptCheck check = interrupt_check.load(std::memory_order_relaxed);
  if (!check) {
    return;
  }
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point next = Clock::now() + kInterruptPeriod;
  const Clock::time_point now = Clock::now();
  if (now >= next) {
    next = now + kInterruptPeriod;
    check();
  }
}

void Event::set() {
  finish(State::set);
}

void Event::fail(std::exception_ptr error) {
  error_ = std::move(error);
  finish(State::failed);
}

void Event::finish(State state) {
  {
    std::lock_guard lock(mutex_);
    state_.store(state, std::memory_order_release);
  }
  changed_.notify_all();
}

void Event::wait() {
  if (!done() && generation_ != fork_generation()) {
    throw std::runtime_error(
        "[eval] the array was being computed when this process was forked; evaluate it before "
        "fork().");
  }
  if (!done()) {
    std::unique_lock lock(mutex_);
    while (!done()) {
      changed_.wait_for(lock, kInterruptPeriod);
      if (!done()) {
        lock.unlock();
        check_interrupt();
        lock.lock();
      }
    }
  }
  if (failed()) {
    std::rethrow_exception(error_);
  }
}

} // namespace narrows
