// Asks for the memory of nodes some steps before it is needed: nodes lie scattered, and what goes
// over many of them would wait for each.
#pragma once

#include <algorithm>
#include <span>

#include "narrows/record/array.h"
#include "narrows/record/node.h"

namespace narrows {

// Calls that only prefetch would be dropped as calls without effect, if they were not inlined.

// So many steps ahead. What is found through a node is asked for when the node itself has come.
inline constexpr size_t kPrefetchInputs = 4;
inline constexpr size_t kPrefetchNodes = 2 * kPrefetchInputs;

[[gnu::always_inline]] inline void prefetch_bytes(const void* from, size_t bytes) {
  constexpr size_t kLine = 64;
  for (size_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(static_cast<const std::byte*>(from) + at);
  }
}

// A node of one output and two inputs; of others, what comes first.
[[gnu::always_inline]] inline void prefetch_node(const Node* node) {
  prefetch_bytes(node, sizeof(Node) + sizeof(Output) + 2 * sizeof(array));
}

// What the node reads: outputs, and the nodes that they are the first output of.
[[gnu::always_inline]] inline void prefetch_inputs(Node* node) {
  for (uint32_t i = 0; i < std::min<uint32_t>(node->input_count(), 4); ++i) {
    const auto* output = reinterpret_cast<const std::byte*>(node->inputs()[i].output());
    prefetch_bytes(output - sizeof(Node), sizeof(Node) + sizeof(Output));
  }
}

// Fewer nodes are in the cache.
inline constexpr size_t kPrefetchFrom = 4096;

// For a pass over `nodes` that is at place i, upwards.
[[gnu::always_inline]] inline void prefetch_after(std::span<Node* const> nodes, size_t i) {
  if (nodes.size() > kPrefetchFrom && i + kPrefetchNodes < nodes.size()) {
    prefetch_node(nodes[i + kPrefetchNodes]);
    prefetch_inputs(nodes[i + kPrefetchInputs]);
  }
}

// The same, downwards.
[[gnu::always_inline]] inline void prefetch_before(std::span<Node* const> nodes, size_t i) {
  if (nodes.size() > kPrefetchFrom && i >= kPrefetchNodes) {
    prefetch_node(nodes[i - kPrefetchNodes]);
    prefetch_inputs(nodes[i - kPrefetchInputs]);
  }
}

} // namespace narrows
