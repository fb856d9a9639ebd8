// Prefetches nodes some steps before they are needed. Nodes lie scattered in memory, and a pass
// over many of them would wait for each.
#pragma once

#include <algorithm>
#include <span>

#include "narrows/record/array.h"
#include "narrows/record/node.h"

namespace narrows {

// Must be inlined: compilers drop calls of functions that only prefetch.

// How many steps ahead. Memory that is found through a node is prefetched after the node itself.
inline constexpr size_t kPrefetchInputs = 4;
inline constexpr size_t kPrefetchNodes = 2 * kPrefetchInputs;

[[gnu::always_inline]] inline void prefetch_bytes(const void* from, size_t bytes) {
  constexpr size_t kLine = 64;
  for (size_t at = 0; at < bytes; at += kLine) {
    __builtin_prefetch(static_cast<const std::byte*>(from) + at);
  }
}

// The part of a node that has one output and two inputs; of other nodes, the beginning.
[[gnu::always_inline]] inline void prefetch_node(const Node* node) {
  prefetch_bytes(node, sizeof(Node) + sizeof(Output) + 2 * sizeof(array));
}

// What the node reads: outputs, and the nodes whose first output they are.
[[gnu::always_inline]] inline void prefetch_inputs(Node* node) {
  for (uint32_t i = 0; i < std::min<uint32_t>(node->input_count(), 4); ++i) {
    const auto* output = reinterpret_cast<const std::byte*>(node->inputs()[i].output());
    prefetch_bytes(output - sizeof(Node), sizeof(Node) + sizeof(Output));
  }
}

// Below that number all nodes are in the cache.
inline constexpr size_t kPrefetchFrom = 4096;

// For a pass over `nodes` from front to back that has come to place i.
[[gnu::always_inline]] inline void prefetch_after(std::span<Node* const> nodes, size_t i) {
  if (nodes.size() > kPrefetchFrom && i + kPrefetchNodes < nodes.size()) {
    prefetch_node(nodes[i + kPrefetchNodes]);
    prefetch_inputs(nodes[i + kPrefetchInputs]);
  }
}

// The same from back to front.
[[gnu::always_inline]] inline void prefetch_before(std::span<Node* const> nodes, size_t i) {
  if (nodes.size() > kPrefetchFrom && i >= kPrefetchNodes) {
    prefetch_node(nodes[i - kPrefetchNodes]);
    prefetch_inputs(nodes[i - kPrefetchInputs]);
  }
}

} // namespace narrows
