#include "narrows/order/sequential.h"

#include <algorithm>

namespace narrows {
namespace {

// Runs nodes one after the other and counts what they hold.
class Ledger {
 public:
  explicit Ledger(const OrderGraph& graph)
      : graph_(graph), readers_left_(graph.count_readers()), live_(graph.bytes_before) {
  }

  // The bytes held while the node runs, if it runs next.
  int64_t bytes_with(uint32_t node, uint32_t donor) const {
    const int64_t taken_over = donor == kNone ? 0 : graph_.root_bytes[donor];
    return live_ + graph_.nodes[node].allocated - taken_over + graph_.nodes[node].transient;
  }
  uint32_t donor(uint32_t node) const {
    return graph_.donor(node, readers_left_);
  }
  // The bytes by which the node changes what is held after it.
  int64_t growth(uint32_t node) const {
    int64_t bytes = graph_.nodes[node].allocated - graph_.nodes[node].unread;
    for (uint32_t root : graph_.reads[node]) {
      bytes -= readers_left_[root] == 1 ? graph_.root_bytes[root] : 0;
    }
    return bytes;
  }

  // Prefetches what running the next nodes of an order will read.
  [[gnu::always_inline]] void prefetch_after(const Order& order, size_t i) const {
    constexpr size_t kStep = 4;
    if (order.size() < kPrefetchFrom || i + 3 * kStep >= order.size()) {
      return;
    }
    __builtin_prefetch(&graph_.nodes[order[i + 3 * kStep]]);
    __builtin_prefetch(&graph_.reads.first[order[i + 3 * kStep]]);
    const uint32_t first = graph_.reads.first[order[i + 2 * kStep]];
    __builtin_prefetch(graph_.reads.items.data() + first);
    __builtin_prefetch(graph_.can_donate.data() + first);
    for (uint32_t root : graph_.reads[order[i + kStep]]) {
      __builtin_prefetch(&readers_left_[root]);
      __builtin_prefetch(&graph_.root_bytes[root]);
    }
  }

  // Runs the node. Calls one_reader_left(root) for each root that has one reader left after it.
  // Returns the bytes held while the node runs.
  template <typename OneReaderLeft>
  int64_t run(uint32_t node, uint32_t donor, OneReaderLeft&& one_reader_left) {
    const int64_t held = bytes_with(node, donor);
    live_ += graph_.nodes[node].allocated - graph_.nodes[node].unread;
    for (uint32_t root : graph_.reads[node]) {
      const uint32_t left = --readers_left_[root];
      if (left == 0) {
        live_ -= graph_.root_bytes[root];
      } else if (left == 1 && graph_.root_bytes[root] > 0) {
        one_reader_left(root);
      }
    }
    return held;
  }

 private:
  const OrderGraph& graph_;
  std::vector<uint32_t> readers_left_;
  int64_t live_;
};

class EagerRun {
 public:
  EagerRun(const OrderGraph& graph, int64_t cap, CountedOrder& result)
      : graph_(graph),
        cap_(cap),
        result_(result),
        ledger_(graph),
        inputs_left_(graph.count_inputs()),
        done_(graph.node_count, 0) {
    result_.nodes.clear();
    result_.bytes.clear();
    result_.nodes.reserve(graph.node_count);
    result_.bytes.reserve(graph.node_count);
    result_.peak = graph.bytes_before;
  }

  // False if the peak reaches `limit`.
  bool follow(const Order& base, int64_t limit) {
    for (size_t i = 0; i < base.size(); ++i) {
      ledger_.prefetch_after(base, i);
      const uint32_t node = base[i];
      if (!done_[node]) {
        run(node, ledger_.donor(node));
      }
      while (!candidates_.empty()) {
        const uint32_t candidate = candidates_.back();
        candidates_.pop_back();
        try_now(candidate);
      }
      if (result_.peak >= limit) {
        return false;
      }
    }
    return true;
  }

 private:
  void try_now(uint32_t node) {
    // A node without inputs frees nothing. It is better off where the base has it.
    if (done_[node] || graph_.reads.empty(node) || ledger_.growth(node) > 0) {
      return;
    }
    const uint32_t donor = ledger_.donor(node);
    if (ledger_.bytes_with(node, donor) <= cap_) {
      run(node, donor);
    }
  }

  void run(uint32_t node, uint32_t donor) {
    done_[node] = 1;
    const int64_t bytes = ledger_.run(node, donor, [&](uint32_t root) { add_last_reader(root); });
    result_.nodes.push_back(node);
    result_.bytes.push_back(bytes);
    result_.peak = std::max(result_.peak, bytes);
    for (uint32_t successor : graph_.successors[node]) {
      if (--inputs_left_[successor] == 0) {
        candidates_.push_back(successor);
      }
    }
  }

  // The only node that still reads the root frees it. It is a candidate if it can run.
  void add_last_reader(uint32_t root) {
    for (uint32_t reader : graph_.readers[root]) {
      if (!done_[reader]) {
        if (inputs_left_[reader] == 0) {
          candidates_.push_back(reader);
        }
        return;
      }
    }
  }

  const OrderGraph& graph_;
  const int64_t cap_;
  CountedOrder& result_;
  Ledger ledger_;
  std::vector<uint32_t> inputs_left_;
  std::vector<uint8_t> done_;
  std::vector<uint32_t> candidates_; // a stack
};

// std::stable_sort() allocates memory, which costs more than sorting the few inputs of a node.
template <typename Before>
void sort_stably(std::span<uint32_t> items, Before&& before) {
  constexpr size_t kFew = 16;
  if (items.size() > kFew) {
    std::stable_sort(items.begin(), items.end(), before);
    return;
  }
  for (size_t i = 1; i < items.size(); ++i) {
    const uint32_t item = items[i];
    size_t at = i;
    for (; at > 0 && before(item, items[at - 1]); --at) {
      items[at] = items[at - 1];
    }
    items[at] = item;
  }
}

// For each node the reader that a depth-first walk from the outputs visits it from.
std::vector<uint32_t> first_visitors(const OrderGraph& graph) {
  std::vector<uint32_t> visitor(graph.node_count, kNone);
  std::vector<uint8_t> seen(graph.node_count, 0);
  std::vector<ParkedNode<uint32_t>> stack;
  for (uint32_t output : graph.outputs) {
    if (!seen[output]) {
      seen[output] = 1;
      stack.push_back({output, 0});
    }
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == graph.inputs[node].size()) {
        stack.pop_back();
        continue;
      }
      const uint32_t input = graph.inputs[node][next++];
      if (!seen[input]) {
        seen[input] = 1;
        visitor[input] = node;
        stack.push_back({input, 0});
      }
    }
  }
  return visitor;
}

// The inputs of each node in the order in which they should run: first those that belong to the
// node in the tree of first visits, those that need most memory before others; then those that
// belong to other readers.
Rows inputs_by_need(const OrderGraph& graph) {
  const std::vector<uint32_t> owner = first_visitors(graph);
  std::vector<int64_t> needed(graph.node_count); // bytes needed to compute the node in its tree
  std::vector<int64_t> left(graph.node_count);   // bytes that it leaves
  std::vector<uint32_t> listed(graph.node_count, kNone); // the node that listed it
  Rows inputs;
  inputs.first.reserve(graph.node_count + 1);
  inputs.items.reserve(graph.inputs.items.size());
  for (uint32_t node = 0; node < graph.node_count; ++node) {
    for (const bool own : {true, false}) {
      for (uint32_t input : graph.inputs[node]) {
        if ((owner[input] == node) == own && listed[input] != node) {
          listed[input] = node;
          inputs.items.push_back(input);
        }
      }
      if (own) {
        sort_stably(
            std::span(inputs.items).subspan(inputs.first.back()),
            [&](uint32_t a, uint32_t b) { return needed[a] - left[a] > needed[b] - left[b]; });
      }
    }
    int64_t held = 0;
    int64_t peak = 0;
    for (size_t i = inputs.first.back(); i < inputs.items.size(); ++i) {
      const uint32_t input = inputs.items[i];
      if (owner[input] == node) {
        peak = std::max(peak, held + needed[input]);
        held += left[input];
      }
    }
    needed[node] = std::max(peak, held + graph.nodes[node].allocated + graph.nodes[node].transient);
    left[node] = graph.nodes[node].is_view ? held : graph.nodes[node].allocated;
    inputs.end_row();
  }
  return inputs;
}

} // namespace

void order_by_width(const OrderGraph& graph, int64_t width, Order& order) {
  struct Walked {
    const OrderGraph& graph;
    std::vector<uint32_t> edges_left; // by node

    std::span<const uint32_t> inputs_of(uint32_t node) const {
      return node == kNone ? std::span<const uint32_t>(graph.outputs) : graph.inputs[node];
    }
    size_t count(uint32_t node) const {
      return inputs_of(node).size();
    }
    uint32_t input(uint32_t node, uint32_t i) const {
      return inputs_of(node)[i];
    }
    bool is_leaf(uint32_t) const {
      return false;
    }
    bool take_edge(uint32_t node) {
      return --edges_left[node] == 0;
    }
  };
  Walked walked{graph, std::vector<uint32_t>(graph.node_count, 0)};
  for (uint32_t input : graph.inputs.items) {
    ++walked.edges_left[input];
  }
  for (uint32_t output : graph.outputs) {
    ++walked.edges_left[output];
  }
  walk<uint32_t>(walked, kNone, width, order);
  order.erase(order.begin());
  std::reverse(order.begin(), order.end());
}

void order_by_need(const OrderGraph& graph, Order& order) {
  const Rows inputs = inputs_by_need(graph);
  std::vector<uint32_t> readers_left(graph.node_count, 0); // one more if it is requested
  for (uint32_t input : inputs.items) {
    ++readers_left[input];
  }
  // Walks from the outputs, last to run first. `unvisited` counts the inputs of a node that are
  // left.
  struct Visit {
    std::span<const uint32_t> unvisited;
  };
  std::vector<uint32_t> outputs;
  std::vector<uint8_t> requested(graph.node_count, 0);
  for (uint32_t output : graph.outputs) {
    if (!requested[output]) {
      requested[output] = 1;
      ++readers_left[output];
      outputs.push_back(output);
    }
  }
  order.clear();
  order.reserve(graph.node_count);
  std::vector<Visit> stack{{outputs}};
  while (!stack.empty()) {
    Visit& visit = stack.back();
    if (visit.unvisited.empty()) {
      stack.pop_back();
      continue;
    }
    const uint32_t node = visit.unvisited.back();
    visit.unvisited = visit.unvisited.first(visit.unvisited.size() - 1);
    if (--readers_left[node] == 0) {
      order.push_back(node);
      stack.push_back({inputs[node]});
    }
  }
  std::reverse(order.begin(), order.end());
}

int64_t peak_of(const OrderGraph& graph, const Order& order) {
  Ledger ledger(graph);
  int64_t peak = graph.bytes_before;
  for (size_t i = 0; i < order.size(); ++i) {
    ledger.prefetch_after(order, i);
    peak = std::max(peak, ledger.run(order[i], ledger.donor(order[i]), [](uint32_t) {}));
  }
  return peak;
}

bool run_eagerly(
    const OrderGraph& graph, const Order& base, int64_t peak, CountedOrder& result, int64_t limit) {
  return EagerRun(graph, peak, result).follow(base, limit);
}

} // namespace narrows
