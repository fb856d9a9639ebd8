#include "narrows/runtime/event.h"

#include <chrono>
#include <stdexcept>

#include "narrows/runtime/wait.h"

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
  finish(State::set, nullptr);
}

void Event::fail(std::exception_ptr error) {
  finish(State::failed, std::move(error));
}

void Event::finish(State state, std::exception_ptr error) {
  State before = State::pending;
  if (state_.compare_exchange_strong(before, State::finishing)) {
    error_ = std::move(error);
    state_.store(state);
    notify_waits();
  }
}

void Event::ask(std::function<void(Event&)> question) {
  question_ = std::move(question);
}

void Event::wait() {
  if (!done() && generation_ != fork_generation()) {
    throw std::runtime_error(
        "[eval] the array was being computed when this process was forked; evaluate it before "
        "fork().");
  }
  wait_until([this] {
    if (!done() && question_) {
      question_(*this);
    }
    return done();
  });
  if (failed()) {
    std::rethrow_exception(error_);
  }
}

} // namespace narrows
