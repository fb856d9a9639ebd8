#include "narrows/runtime/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "narrows/runtime/subnormals.h"

namespace narrows {
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
  const FloatMode mode = float_mode();
  // An exception must not leave the parallel region. The first one is raised after its end.
  std::exception_ptr error;
  std::atomic_flag failed;
#pragma omp parallel for num_threads(chunks) schedule(static, 1)
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const FloatModeScope scope(mode); // the caller's
    try {
      call(context, chunk);
    } catch (...) {
      if (!failed.test_and_set()) {
        error = std::current_exception();
      }
    }
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

void copy_bytes(const void* from, void* to, int64_t bytes) {
  constexpr int64_t kGrain = int64_t{1} << 20;
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  parallel_for(bytes, kGrain, [=](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
  });
}

} // namespace narrows
