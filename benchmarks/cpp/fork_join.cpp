// The cost of giving work to the pool and waiting for it: parallel_for() with nothing to do, right
// after the one before and after a pause in which one thread computes.
//
//     NARROWS_NUM_THREADS=2 build/benchmarks/cpp/fork_join

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "narrows/runtime/parallel.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 2001;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

void report(double pause) {
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) {
    const Clock::time_point begin = Clock::now();
    while (microseconds_since(begin) < pause) {
    }
    const Clock::time_point start = Clock::now();
    narrows::parallel_for(narrows::thread_count(), 1, [](int64_t, int64_t) {});
    times.push_back(microseconds_since(start));
  }
  std::sort(times.begin(), times.end());
  std::printf(
      "after %6.0f us: median %.2f us, quartiles %.2f to %.2f, nine tenths below %.2f\n",
      pause,
      times[kRounds / 2],
      times[kRounds / 4],
      times[kRounds * 3 / 4],
      times[kRounds * 9 / 10]);
}

} // namespace

int main() {
  std::printf("%d threads\n", narrows::thread_count());
  for (const double pause : {0.0, 10.0, 100.0, 1000.0}) {
    report(pause);
  }
}
