// The one traversal of a graph: from requested outputs to a tape of nodes in execution order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

#include "narrows/walk/prefetch.h"

namespace narrows {

// Nodes in execution order: each stands behind all its inputs.
using Tape = std::vector<Node*>;

inline constexpr int64_t kUnlimitedWidth = std::numeric_limits<int64_t>::max();

// Guards edges and scratch fields of nodes. It is held while a graph is walked or taken apart.
std::mutex& graph_mutex();

// A number that no earlier traversal had. Under graph_mutex().
uint64_t next_epoch();

// A thread's storage for traversals. It is a function that is not inlined, because compilers would
// look up the thread at each use.
template <typename T>
[[gnu::noinline]] T& spare_of_thread() {
  static thread_local T spare;
  return spare;
}

// A node whose next input to visit is `input`.
template <typename Id>
struct ParkedNode {
  Id node;
  uint32_t input;
};

// The width-limited walk, from a root towards the inputs, over anything that can say
//   size_t count(node)          how many inputs a node has
//   Id input(node, i)           one of them
//   bool is_leaf(input)         whether it is left out
//   bool take_edge(input)       takes an edge to it off; whether that was the last
// Nodes are taken first in, first out; when `width` nodes wait, the node at hand is parked on a
// stack and resumed when no node waits. A node joins when the last edge to it was walked.
// Leaves the root and the nodes in `walked`, inputs after what reads them.
template <typename Id, typename Graph>
void walk(Graph&& graph, Id root, int64_t width, std::vector<Id>& walked) {
  std::vector<ParkedNode<Id>>& parked = spare_of_thread<std::vector<ParkedNode<Id>>>();
  parked.clear();
  walked.assign(1, root);
  size_t taken = 0;
  while (taken < walked.size() || !parked.empty()) {
    ParkedNode<Id> at{root, 0};
    if (taken < walked.size()) {
      at.node = walked[taken++];
    } else {
      at = parked.back();
      parked.pop_back();
    }
    const size_t count = graph.count(at.node);
    for (uint32_t i = at.input; i < count; ++i) {
      const Id input = graph.input(at.node, i);
      if (graph.is_leaf(input)) {
        continue;
      }
      if (static_cast<int64_t>(walked.size() - taken) >= width) {
        parked.push_back({at.node, i});
        break;
      }
      if (graph.take_edge(input)) {
        walked.push_back(input);
      }
    }
  }
}

// The nodes behind requested outputs, with numbers. Number 0 is a virtual node that reads the
// outputs.
struct NumberedNodes {
  struct Edges {
    uint32_t first; // of the node's in `inputs`; they end where the next node's start
    uint32_t to_it; // edges from others to it
  };
  std::vector<Node*> nodes;
  std::vector<Edges> edges;     // of each node, and the end
  std::vector<uint32_t> inputs; // one item for each edge, without those to leaves

  template <typename IsLeaf>
  void collect(std::span<const array> outputs, IsLeaf&& is_leaf) {
    const uint64_t epoch = next_epoch();
    nodes.assign(1, nullptr);
    edges.assign(1, {0, 0});
    inputs.clear();
    const auto add_edge = [&](const array& input) {
      Node* node = input.node();
      if (is_leaf(node)) {
        return;
      }
      if (node->epoch != epoch) {
        node->epoch = epoch;
        node->pending = static_cast<uint32_t>(nodes.size());
        nodes.push_back(node);
        edges.push_back({0, 0});
      }
      inputs.push_back(node->pending);
      ++edges[node->pending].to_it;
    };
    for (const array& output : outputs) {
      add_edge(output);
    }
    for (size_t at = 1; at < nodes.size(); ++at) {
      prefetch_after(nodes, at);
      edges[at].first = static_cast<uint32_t>(inputs.size());
      Node* node = nodes[at];
      for (uint32_t i = 0; i < node->input_count(); ++i) {
        add_edge(node->inputs()[i]);
      }
    }
    edges.push_back({static_cast<uint32_t>(inputs.size()), 0});
  }

  // The interface that walk() asks for.
  size_t count(uint32_t node) const {
    return edges[node + 1].first - edges[node].first;
  }
  uint32_t input(uint32_t node, uint32_t i) const {
    return inputs[edges[node].first + i];
  }
  bool is_leaf(uint32_t) const {
    return false;
  }
  bool take_edge(uint32_t node) {
    return --edges[node].to_it == 0;
  }
};

// The storage of a thread is kept for its next plan if that has no more nodes.
inline constexpr size_t kLargestSpare = size_t{1} << 16;

// Lists every node that `outputs` need, down to those for which is_leaf(node) holds (they are
// not listed), width-limited breadth-first: the tape is walk(), reversed. Width 1 is depth-first,
// unlimited is breadth-first. Iterative; O(nodes + edges). The caller holds graph_mutex().
template <typename IsLeaf>
void linearize(std::span<const array> outputs, IsLeaf&& is_leaf, int64_t width, Tape& tape) {
  NumberedNodes& numbered = spare_of_thread<NumberedNodes>();
  std::vector<uint32_t>& walked = spare_of_thread<std::vector<uint32_t>>();
  numbered.collect(outputs, is_leaf);
  walk<uint32_t>(numbered, 0, width, walked);
  tape.clear();
  tape.reserve(walked.size());
  for (size_t i = walked.size(); i-- > 1;) {
    tape.push_back(numbered.nodes[walked[i]]);
  }
  if (walked.size() > kLargestSpare) {
    numbered = {};
    walked = {};
  }
}

} // namespace narrows
