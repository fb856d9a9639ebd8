// Cost of planning per node: of the cast (many short chains), of one long chain and of a graph with
// many joins, in width-limited order and in the memory order, with and without fusion. Nothing is
// evaluated; the time is that of walking, ordering, fusing and placing every node. "kept" is a
// graph whose finished plan is used again.
//
//     build/benchmarks/cpp/planning                       # up to 100,000 nodes
//     build/benchmarks/cpp/planning 1000000               # of so many nodes
//     NARROWS_BACKEND=null build/benchmarks/cpp/planning  # for a device that runs 16 at once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "narrows/narrows.h"
#include "narrows/order/cache.h"

namespace {

using narrows::array;

constexpr size_t kLeastRounds = 7;
constexpr double kLeastMicroseconds = 5e5;

std::vector<array> cast_graph() {
  std::vector<array> arrays;
  for (int i = 0; i < 1000; ++i) {
    arrays.push_back(narrows::astype(narrows::zeros({4096, 128}, narrows::int64), narrows::int8));
  }
  return arrays;
}

// Each node reads one or two of the 80 nodes before it.
std::vector<array> joins(int length) {
  std::mt19937 random(5);
  std::vector<array> all;
  for (size_t i = 0; i < static_cast<size_t>(length); ++i) {
    const auto any = [&] { return all[i - 1 - random() % std::min<size_t>(i, 80)]; };
    if (i < 4 || random() % 12 == 0) {
      all.push_back(narrows::zeros({1024, 1024}));
    } else {
      all.push_back(random() % 3 ? narrows::add(any(), any()) : narrows::exp(any()));
    }
  }
  return {all.end() - 80, all.end()};
}

std::vector<array> chain(int length) {
  const array one = narrows::ones({4096, 4096});
  array last = one;
  for (int i = 0; i < length; ++i) {
    last = narrows::add(last, one);
  }
  return {last};
}

// The processor time of this thread. Rounds are short, and other processes may share the
// processors.
double thread_microseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

// What is known of the graph: nothing, its order, or its whole plan.
enum class Known { nothing, order, plan };

double planning_cost(const std::vector<array>& outputs, Known known, size_t& nodes) {
  narrows::Tape tape;
  narrows::Plan plan;
  std::vector<double> microseconds;
  double total = 0;
  while (microseconds.size() < kLeastRounds || total < kLeastMicroseconds) {
    const std::lock_guard lock(narrows::graph_mutex());
    if (known == Known::nothing) {
      narrows::order_cache() = {};
    }
    const double start = thread_microseconds();
    if (known == Known::plan) {
      narrows::plan_evaluation(outputs, tape, plan);
    } else {
      narrows::plan_outputs(outputs, tape, plan);
    }
    const double elapsed = thread_microseconds() - start;
    total += elapsed;
    microseconds.push_back(elapsed / static_cast<double>(tape.size()));
  }
  const auto median = microseconds.begin() + static_cast<std::ptrdiff_t>(microseconds.size() / 2);
  std::nth_element(microseconds.begin(), median, microseconds.end());
  nodes = tape.size();
  return *median;
}

void report(
    const char* graph,
    const char* order,
    const std::vector<array>& outputs,
    Known known = Known::nothing) {
  size_t nodes = 0;
  double cost[2];
  for (const bool fuse : {false, true}) {
    const narrows::FusionScope scope(fuse);
    cost[fuse] = planning_cost(outputs, known, nodes);
  }
  std::printf("%-8s %9zu nodes %12s %10.3f %10.3f\n", graph, nodes, order, cost[0], cost[1]);
  std::fflush(stdout);
}

void report(const char* graph, const std::vector<array>& outputs) {
  for (const int64_t width : {1, 20, 1000000000}) {
    const narrows::BfsMaxWidthScope scope(width);
    const bool limited = width < 1000000000;
    report(graph, limited ? ("width " + std::to_string(width)).c_str() : "unlimited", outputs);
  }
  const narrows::OrderPolicyScope scope(narrows::OrderPolicy::memory);
  report(graph, "memory", outputs);
  report(graph, "memory again", outputs, Known::order);
  report(graph, "kept", outputs, Known::plan);
}

} // namespace

int main(int count, char** arguments) {
  const narrows::Device device = narrows::default_device();
  std::printf(
      "us per node, medians; steps at once: %d\n%-24s %12s %10s %10s\n",
      narrows::backend_for(device).concurrency(),
      "graph",
      "order",
      "unfused",
      "fused");
  if (count > 1) {
    const int nodes = std::atoi(arguments[1]);
    report("joins", joins(nodes));
    report("chain", chain(nodes));
    return 0;
  }
  report("cast", cast_graph());
  for (const int nodes : {1000, 10000, 100000}) {
    report("joins", joins(nodes));
  }
  report("chain", chain(100000));
}
