#include "narrows/backend/cpu/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <cstdlib>

namespace narrows::cpu {
namespace {

int configured_threads() {
  if (const char* text = std::getenv("NARROWS_NUM_THREADS")) {
    const int count = std::atoi(text);
    if (count > 0) {
      return std::min(count, 1024);
    }
  }
  return std::max(1, omp_get_num_procs());
}

struct Threads {
  int count = configured_threads();
  Threads();
};

Threads& threads() {
  static Threads instance;
  return instance;
}

Threads::Threads() {
  pthread_atfork(nullptr, nullptr, [] { threads().count = 1; });
}

} // namespace

int thread_count() {
  return threads().count;
}

void detail::run_chunks(int chunks, void (*call)(void*, int), void* context) {
#pragma omp parallel for num_threads(chunks) schedule(static, 1)
  for (int chunk = 0; chunk < chunks; ++chunk) {
    call(context, chunk);
  }
}

} // namespace narrows::cpu
