// Cost of planning per node: of the cast (many short chains) and of one long chain. Nothing is
// evaluated; the time is that of plan_outputs(), which walks, orders and places every node.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <vector>

#include "narrows/narrows.h"

namespace {

using narrows::array;

constexpr int kRounds = 21;

std::vector<array> cast_graph() {
  std::vector<array> arrays;
  for (int i = 0; i < 1000; ++i) {
    arrays.push_back(narrows::astype(narrows::zeros({4096, 128}, narrows::int64), narrows::int8));
  }
  return arrays;
}

std::vector<array> chain(int length) {
  const array one = narrows::ones({16});
  array last = one;
  for (int i = 0; i < length; ++i) {
    last = narrows::add(last, one);
  }
  return {last};
}

void report(const char* name, const std::vector<array>& outputs, int64_t width) {
  const narrows::BfsMaxWidthScope scope(width);
  narrows::Tape tape; // kept from round to round, as eval() does
  narrows::Plan plan;
  std::vector<double> microseconds;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    {
      std::lock_guard lock(narrows::graph_mutex());
      narrows::plan_outputs(outputs, tape, plan);
    }
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    microseconds.push_back(elapsed.count() / static_cast<double>(plan.steps.size()));
  }
  std::nth_element(microseconds.begin(), microseconds.begin() + kRounds / 2, microseconds.end());
  std::printf(
      "%-24s %8lld %12.3f\n", name, static_cast<long long>(width), microseconds[kRounds / 2]);
}

} // namespace

int main() {
  std::printf("median of %d\n%-24s %8s %12s\n", kRounds, "graph", "width", "us per node");
  const std::vector<array> cast = cast_graph();
  const std::vector<array> long_chain = chain(100000);
  for (const int64_t width : {1, 20, 1000000}) {
    report("cast, 2000 nodes", cast, width);
    report("chain, 100000 nodes", long_chain, width);
  }
}
