// OrderGraph: what planning an order by bytes needs to know of a graph, in flat arrays.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "narrows/plan/plan.h"

namespace narrows {

// Lists of different lengths, one after the other.
struct Rows {
  std::vector<uint32_t> first{0}; // of each row, and the end
  std::vector<uint32_t> items;

  bool operator==(const Rows&) const = default;

  std::span<const uint32_t> operator[](uint32_t row) const {
    return {items.data() + first[row], first[row + 1] - first[row]};
  }
  bool empty(uint32_t row) const {
    return first[row] == first[row + 1];
  }
  void end_row() {
    first.push_back(static_cast<uint32_t>(items.size()));
  }
};

// Nodes are numbered in an order in which they can run. A root is a buffer as it would be
// without donation: an input from before the plan, or what an output gets; views share the root
// of what they show. It dies with the last node that reads it.
struct OrderGraph {
  uint32_t node_count = 0;
  Rows inputs;                   // of a node: producers, one for each edge, in order of inputs
  Rows successors;               // of a node: the ends of these edges
  Rows reads;                    // of a node: roots, each once
  Rows readers;                  // of a root: nodes, each once
  std::vector<uint32_t> outputs; // nodes of the requested outputs, as requested

  struct Bytes {
    int64_t allocated; // when nothing is donated
    int64_t transient; // workspace and packed copies
    int64_t unread;    // of outputs that die at once
    bool is_view;      // does no work

    bool operator==(const Bytes&) const = default;
  };
  std::vector<Bytes> nodes;
  // By root: what is free when it dies; 0 if somebody keeps it.
  std::vector<int64_t> root_bytes;
  std::vector<uint32_t> makers; // of a root: the node that allocates it; kNone: from before
  // By node: whether it may run again. Nobody holds what it makes, no other node does more with it
  // than to read it or to show all of it, and the primitive does not say that it runs once.
  std::vector<uint8_t> can_repeat;
  // By item of `reads`: whether the node may overwrite the root if nobody else reads it later.
  std::vector<uint8_t> can_donate;

  int64_t bytes_before = 0; // see Plan

  // Whether every order, planned, holds what is counted here: there are no packed copies, and what
  // is overwritten changes no layout.
  bool is_exact = true;

  bool operator==(const OrderGraph&) const = default;
  // The root that `node` overwrites if it runs when `readers_left` are left, else kNone.
  uint32_t donor(uint32_t node, const std::vector<uint32_t>& readers_left) const {
    for (uint32_t i = reads.first[node]; i < reads.first[node + 1]; ++i) {
      if (can_donate[i] && readers_left[reads.items[i]] == 1) {
        return reads.items[i];
      }
    }
    return kNone;
  }
  std::vector<uint32_t> count_readers() const;
  std::vector<uint32_t> count_inputs() const;
};

// The graph of a plan; node i is the i-th of the plan's tape.
OrderGraph make_order_graph(const Plan& plan, std::span<const array> outputs);

} // namespace narrows
