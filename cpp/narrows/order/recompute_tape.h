// From what is made again where to the nodes in execution order.
#pragma once

#include "narrows/order/recompute_state.h"

namespace narrows {

// The nodes of the order, with all that the state has run again, and views where they are needed.
// The first run of a node may be a later one than in the order: what nobody reads does not run.
Order write_tape(const OrderGraph& graph, const Order& order, const RecomputeState& state);

// A run that nobody reads before the next one of its node is none, and so is a copy.
Order without_unread(const OrderGraph& graph, const Order& tape);

} // namespace narrows
