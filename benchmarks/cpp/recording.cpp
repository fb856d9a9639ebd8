// The cost of recording a node and destroying it: chains of additions that nobody evaluates.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <vector>

#include "narrows/narrows.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 41;
constexpr int kNodes = 20000;

double nanoseconds_per_node(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kNodes;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

} // namespace

int main() {
  const narrows::array one = narrows::ones({16});
  std::vector<double> recorded;
  std::vector<double> released;
  for (int round = 0; round < kRounds; ++round) {
    std::optional<narrows::array> last = one;
    Clock::time_point start = Clock::now();
    for (int i = 0; i < kNodes; ++i) {
      last = narrows::add(*last, one);
    }
    recorded.push_back(nanoseconds_per_node(start));
    start = Clock::now();
    last.reset();
    released.push_back(nanoseconds_per_node(start));
  }
  std::printf(
      "add() recorded %.1f ns, released %.1f ns (median of %d chains of %d)\n",
      median(recorded),
      median(released),
      kRounds,
      kNodes);
}
