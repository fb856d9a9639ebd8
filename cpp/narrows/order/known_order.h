// KnownOrder: the order that a large graph was planned in. A graph like it, as in each step of a
// training loop, is planned in that order at once, instead of in width 20 first.
#pragma once

#include "narrows/order/sequential.h"
#include "narrows/order/settings.h"

namespace narrows {

struct KnownOrder {
  // What a step of its plan allocates beside its results, and what the plan holds.
  struct Bytes {
    int64_t workspace;
    int64_t live;
    int64_t peak;

    bool operator==(const Bytes&) const = default;
  };

  OrderOptions options;
  bool fuse;
  int concurrency;
  Order nodes; // by their places in the tape of width 20
  std::vector<Stream> streams;
  std::vector<Bytes> steps;

  KnownOrder(const OrderOptions& options, bool fuse, Order nodes, const Plan& plan);

  // Whether the plan holds the same bytes at each step, on the same streams, whose backends gain
  // from as many nodes side by side.
  bool has_planned(const Plan& plan) const;
};

// Reorders the tape. False, and nothing is changed, if a node would stand in front of its inputs.
bool reorder(const Order& order, Tape& tape);

} // namespace narrows
