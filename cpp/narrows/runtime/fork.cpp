#include "narrows/runtime/fork.h"

#include <pthread.h>

#include <atomic>
#include <vector>

namespace narrows {
namespace {

std::atomic<int> generation{0};

// Never destroyed: a process may fork at its very end.
std::vector<std::mutex*>& held() {
  static auto* locks = new std::vector<std::mutex*>;
  return *locks;
}

void before_fork() {
  for (std::mutex* lock : held()) {
    lock->lock();
  }
}

void after_fork() {
  for (auto lock = held().rbegin(); lock != held().rend(); ++lock) {
    (*lock)->unlock();
  }
}

void after_fork_in_child() {
  after_fork();
  ++generation;
}

} // namespace

int fork_generation() {
  return generation.load(std::memory_order_relaxed);
}

void hold_over_fork(std::initializer_list<std::mutex*> locks) {
  held() = locks;
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

} // namespace narrows
