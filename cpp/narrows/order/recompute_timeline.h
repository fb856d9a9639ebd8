// When the steps and the copies of an order with recomputation run, as estimated.
#pragma once

#include "narrows/order/recompute_state.h"

namespace narrows {

// Seconds that an order takes which runs nodes again and copies values to the host and back. Where
// copies run beside other work, they run one after the other, each behind what stands before it.
// Who reads what comes from the host waits for it, and so does whoever may reuse the memory of what
// is copied to it.
double seconds_of(const OrderGraph& graph, const Order& tape, const RecomputeCosts& costs);

// Lets copies from the host begin so early that they end when their values are wanted, as far as
// the budget allows.
void start_copies_early(RecomputeState& state);

} // namespace narrows
