#include "narrows/runtime/fork.h"

#include <pthread.h>

#include <atomic>
#include <utility>

namespace narrows {
namespace {

std::atomic<int> generation{0};
std::vector<std::mutex*>* held = nullptr; // never destroyed: processes fork until they end

void before_fork() {
  for (std::mutex* mutex : *held) {
    mutex->lock();
  }
}

void after_fork() {
  for (auto mutex = held->rbegin(); mutex != held->rend(); ++mutex) {
    (*mutex)->unlock();
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

void hold_over_fork(std::vector<std::mutex*> outer_to_inner) {
  held = new std::vector(std::move(outer_to_inner));
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

} // namespace narrows
