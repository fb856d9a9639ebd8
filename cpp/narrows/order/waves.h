// Turns a sequential order into one with parallel work: waves of independent nodes.
#pragma once

#include "narrows/order/sequential.h"

namespace narrows {

struct WaveLimits {
  int64_t budget;    // bytes that no wave may pass, at least the base's peak
  uint32_t nodes;    // at most in a wave; views count as none
  int64_t saturated; // a wave that moves so many bytes fills the device; more may not cost memory
};

// `base`, with nodes pulled forward where memory allows it: each wave starts with the first node
// of `base` that has not run and takes ready nodes that follow, as long as the bytes booked until
// the place where they stood stay within the budget. The peak of the result stays within the
// budget too; no node of a wave reads what another of the wave writes or overwrites.
void order_in_waves(
    const OrderGraph& graph, const CountedOrder& base, const WaveLimits& limits, Order& order);

} // namespace narrows
