// The one thread pool of the host: OpenMP's.
#pragma once

#include <algorithm>
#include <cstdint>

namespace narrows {

// The number of threads that parallel_for uses at most: NARROWS_NUM_THREADS, else the number of
// cores that this process may run on. It is 1 in a child after fork(), which does not have the
// pool's threads.
int thread_count();

namespace detail {
void run_chunks(int chunks, void (*call)(void* context, int chunk), void* context);
}

// Calls f(begin, end) on disjoint ranges that cover [0, n), on several threads if each gets at
// least `grain` items. Items should cost about the same. If f throws, one of its exceptions is
// raised after all threads have finished.
template <typename F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t most = std::max<int64_t>(1, n / std::max<int64_t>(1, grain));
  const int chunks = static_cast<int>(std::min<int64_t>(thread_count(), most));
  if (chunks <= 1) {
    if (n > 0) {
      f(int64_t{0}, n);
    }
    return;
  }
  struct Context {
    F* f;
    int64_t n;
    int64_t chunks;
  } context{&f, n, chunks};
  detail::run_chunks(
      chunks,
      [](void* pointer, int chunk) {
        auto& c = *static_cast<Context*>(pointer);
        const int64_t begin = static_cast<int64_t>(static_cast<__int128>(c.n) * chunk / c.chunks);
        const int64_t end =
            static_cast<int64_t>(static_cast<__int128>(c.n) * (chunk + 1) / c.chunks);
        (*c.f)(begin, end);
      },
      &context);
}

// memcpy(), on several threads for large sizes.
void copy_bytes(const void* from, void* to, int64_t bytes);

} // namespace narrows
