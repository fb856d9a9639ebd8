// Turns a sequential order into one with parallel work: waves of independent nodes.
#pragma once

#include "narrows/order/sequential.h"

namespace narrows {

// How many nodes run side by side on the backends of the plan's streams, at most.
int concurrency_of(const Plan& plan);

struct WaveLimits {
  int64_t budget;    // bytes that no wave may exceed, at least the base's peak
  uint32_t nodes;    // at most so many in a wave; views do not count
  int64_t saturated; // a wave that moves so many bytes fills the device; further nodes must not
                     // raise the base's peak
};

// `base`, with nodes pulled forward where memory allows it. Each wave starts with the first node of
// `base` that has not run. It takes ready nodes behind that as long as the bytes, booked up to the
// place where such a node stood, stay within the budget. So does the peak of the result. No node of
// a wave reads what another node of the wave writes or overwrites.
void order_in_waves(
    const OrderGraph& graph, const CountedOrder& base, const WaveLimits& limits, Order& order);

} // namespace narrows
