// Orders of a graph that hold little memory when one node runs at a time.
#pragma once

#include "narrows/order/order_graph.h"

namespace narrows {

// Nodes in execution order.
using Order = std::vector<uint32_t>;

// An order and the bytes that it holds.
struct CountedOrder {
  Order nodes;
  std::vector<int64_t> bytes; // while each node runs
  int64_t peak = 0;
};

// The width-limited order, the same as linearize()'s.
void order_by_width(const OrderGraph& graph, int64_t width, Order& order);

// Depth-first towards the inputs; of a node's inputs the one runs first whose computation needs
// most memory beyond what it leaves (Liu's generalised pebbling of trees, after Sethi and Ullman).
// A node with several readers belongs to the reader that a depth-first walk meets first.
void order_by_need(const OrderGraph& graph, Order& order);

// The highest number of bytes that the order holds.
int64_t peak_of(const OrderGraph& graph, const Order& order);

// `base`, but what can run and frees at least what it takes runs at once unless it would pass
// `peak`, the peak of `base`. False, with no result, if the peak is not below `limit`.
bool run_eagerly(
    const OrderGraph& graph,
    const Order& base,
    int64_t peak,
    CountedOrder& result,
    int64_t limit = INT64_MAX);

} // namespace narrows
