#include "narrows/runtime/fork.h"

#include <pthread.h>

#include <atomic>

namespace narrows {
namespace {

std::atomic<int> generation{0};
std::mutex* held[2] = {nullptr, nullptr};

void before_fork() {
  held[0]->lock();
  held[1]->lock();
}

void after_fork() {
  held[1]->unlock();
  held[0]->unlock();
}

void after_fork_in_child() {
  after_fork();
  ++generation;
}

} // namespace

int fork_generation() {
  return generation.load(std::memory_order_relaxed);
}

void hold_over_fork(std::mutex& outer, std::mutex& inner) {
  held[0] = &outer;
  held[1] = &inner;
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

} // namespace narrows
