// Orders of a graph that need little memory when one node runs at a time.
#pragma once

#include "narrows/order/order_graph.h"

namespace narrows {

// Nodes in execution order.
using Order = std::vector<uint32_t>;

// Where nodes run more than once to keep a budget, entries of an order may also be copies of a
// node's value: to the host, and from there to its device.
inline constexpr uint32_t kToHost = 1u << 31;
inline constexpr uint32_t kFromHost = 1u << 30;
inline constexpr uint32_t kNodeOfEntry = kFromHost - 1;

// An order and the bytes that it holds.
struct CountedOrder {
  Order nodes;
  std::vector<int64_t> bytes; // while each node runs
  int64_t peak = 0;
};

// The width-limited order: the one of linearize().
void order_by_width(const OrderGraph& graph, int64_t width, Order& order);

// Depth-first towards the inputs. Of the inputs of a node, the one runs first whose computation
// needs most memory beyond what its result takes (Liu's generalised pebbling of trees, after Sethi
// and Ullman). A node with several readers belongs to the reader that a depth-first walk meets
// first.
void order_by_need(const OrderGraph& graph, Order& order);

// The peak of an order in bytes.
int64_t peak_of(const OrderGraph& graph, const Order& order);

// `base`, changed so that a node that frees at least as much as it takes runs as soon as it can,
// unless it would pass `peak`, the peak of `base`. False, without a result, if the peak is not
// below `limit`.
bool run_eagerly(
    const OrderGraph& graph,
    const Order& base,
    int64_t peak,
    CountedOrder& result,
    int64_t limit = INT64_MAX);

} // namespace narrows
