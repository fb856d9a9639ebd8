// OrderGraph: what planning an order by bytes has to know of a graph, in flat arrays.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "narrows/plan/plan.h"

namespace narrows {

// Lists of different lengths, stored one after the other.
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

// Nodes are numbered in an order in which they can run. A root is a buffer as it would be without
// donation: that of an input from before the plan, or that of an output. Views share the root of
// what they show. A root dies with the last node that reads it.
struct OrderGraph {
  uint32_t node_count = 0;
  Rows inputs;                   // of a node: producers, one for each edge, in order of inputs
  Rows successors;               // of a node: the ends of these edges
  Rows reads;                    // of a node: roots, each once
  Rows readers;                  // of a root: nodes, each once
  std::vector<uint32_t> outputs; // nodes of the requested outputs, as requested

  struct Bytes {
    int64_t allocated; // if nothing is donated
    int64_t transient; // workspace and packed copies
    int64_t unread;    // of outputs that nobody reads
    bool is_view;      // does no work

    bool operator==(const Bytes&) const = default;
  };
  std::vector<Bytes> nodes;
  // By root: the bytes that are free when it dies; 0 if somebody holds it.
  std::vector<int64_t> root_bytes;
  std::vector<uint32_t> makers; // by root: the node that allocates it; kNone: an earlier one
  // By node: whether it may run again. Nobody holds its outputs, other nodes only read them or show
  // all of them, and the primitive does not say that it runs once.
  std::vector<uint8_t> can_repeat;
  // By item of `reads`: whether the node may overwrite the root if it is the last reader.
  std::vector<uint8_t> can_donate;

  int64_t bytes_before = 0; // see Plan

  // Whether a plan of any order holds exactly what is counted here: there are no packed copies, and
  // overwriting changes no layout.
  bool is_exact = true;

  bool operator==(const OrderGraph&) const = default;
  // The root that `node` overwrites if `readers_left` of the roots are left; kNone if none.
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

// The graph of a plan. Node i is node i of the plan's tape. `repeats`: whether can_repeat is found
// out, too; else it is empty.
OrderGraph make_order_graph(const Plan& plan, std::span<const array> outputs, bool repeats = true);

} // namespace narrows
