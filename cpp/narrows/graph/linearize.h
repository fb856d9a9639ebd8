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
struct ParkedNode {
  Node* node;
  uint32_t input;
};

// Lists every node that `outputs` need, down to those for which is_leaf(node) holds (they are
// not listed), width-limited breadth-first: the walk goes from the outputs towards the inputs,
// taking nodes first in, first out; when `width` nodes wait, the node at hand is parked on a
// stack and resumed when no node waits. A node joins when the last edge to it was walked. The
// tape is that walk, reversed. Width 1 is depth-first, unlimited is breadth-first.
// Iterative; O(nodes + edges). The caller holds graph_mutex().
template <typename IsLeaf>
void linearize(std::span<const array> outputs, IsLeaf&& is_leaf, int64_t width, Tape& tape) {
  const uint64_t epoch = next_epoch();
  static thread_local std::vector<Node*> stack;
  static thread_local std::vector<ParkedNode> parked;
  tape.clear();
  stack.clear();
  parked.clear();

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

  // The walk. nullptr stands for a root whose inputs are the requested outputs.
  auto inputs_of = [&](Node* node) {
    return node ? std::span<const array>(node->inputs(), node->input_count()) : outputs;
  };
  tape.push_back(nullptr);
  size_t taken = 0;
  while (taken < tape.size() || !parked.empty()) {
    ParkedNode at{nullptr, 0};
    if (taken < tape.size()) {
      at.node = tape[taken++];
    } else {
      at = parked.back();
      parked.pop_back();
    }
    const std::span<const array> inputs = inputs_of(at.node);
    for (uint32_t i = at.input; i < inputs.size(); ++i) {
      Node* input = inputs[i].node();
      if (is_leaf(input)) {
        continue;
      }
      if (static_cast<int64_t>(tape.size() - taken) >= width) {
        parked.push_back({at.node, i});
        break;
      }
      if (--input->pending == 0) {
        tape.push_back(input);
      }
    }
  }
  tape.erase(tape.begin());
  std::reverse(tape.begin(), tape.end());
}

} // namespace narrows
