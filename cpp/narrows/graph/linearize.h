// The one traversal of a graph: from requested outputs to a tape of nodes in execution order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

#include "narrows/graph/array.h"

namespace narrows {

// Nodes in execution order: every node stands after all its inputs.
using Tape = std::vector<Node*>;

inline constexpr int64_t kUnlimitedWidth = std::numeric_limits<int64_t>::max();

// Guards edges and scratch fields of nodes: held while a graph is walked or taken apart.
std::mutex& graph_mutex();

// A number that no earlier traversal had. Under graph_mutex().
uint64_t next_epoch();

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
  static thread_local std::vector<ParkedNode<Id>> parked;
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

// Lists every node that `outputs` need, down to those for which is_leaf(node) holds (they are
// not listed), width-limited breadth-first: the tape is walk(), reversed. Width 1 is depth-first,
// unlimited is breadth-first. Iterative; O(nodes + edges). The caller holds graph_mutex().
template <typename IsLeaf>
void linearize(std::span<const array> outputs, IsLeaf&& is_leaf, int64_t width, Tape& tape) {
  const uint64_t epoch = next_epoch();
  static thread_local std::vector<Node*> stack;
  stack.clear();

  // Counts, for each node, the edges to it.
  auto count_edge = [&](const array& input) {
    Node* node = input.node();
    if (is_leaf(node)) {
      return;
    }
    if (node->epoch != epoch) {
      node->epoch = epoch;
      node->pending = 0;
      stack.push_back(node);
    }
    ++node->pending;
  };
  for (const array& output : outputs) {
    count_edge(output);
  }
  while (!stack.empty()) {
    Node* node = stack.back();
    stack.pop_back();
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      count_edge(node->inputs()[i]);
    }
  }

  struct Graph { // nullptr stands for a root whose inputs are the requested outputs
    std::span<const array> outputs;
    IsLeaf& is_leaf_node;

    size_t count(Node* node) const {
      return node ? node->input_count() : outputs.size();
    }
    Node* input(Node* node, uint32_t i) const {
      return node ? node->inputs()[i].node() : outputs[i].node();
    }
    bool is_leaf(Node* node) const {
      return is_leaf_node(node);
    }
    bool take_edge(Node* node) const {
      return --node->pending == 0;
    }
  };
  walk<Node*>(Graph{outputs, is_leaf}, nullptr, width, tape);
  tape.erase(tape.begin());
  std::reverse(tape.begin(), tape.end());
}

} // namespace narrows
