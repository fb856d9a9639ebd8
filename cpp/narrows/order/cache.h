// OrderCache: the orders of graphs that were planned before. A training step has the same graph
// again and again.
#pragma once

#include <deque>

#include "narrows/order/order_graph.h"
#include "narrows/order/sequential.h"
#include "narrows/order/settings.h"

namespace narrows {

// Everything that the choice of an order depends on.
struct OrderQuestion {
  OrderGraph graph;
  OrderOptions options;
  int64_t budget; // for the bytes of the plan
  int concurrency;
  bool fuse;
  int64_t host_bytes; // that copies on the host may take

  bool operator==(const OrderQuestion&) const = default;
};

struct OrderAnswer {
  Order nodes;
  int64_t peak_bytes; // of its plan
  double extra = 0;   // seconds of what runs again, and of the rest, estimated
  double total = 0;
};

// Answers to the latest questions. The caller holds graph_mutex().
class OrderCache {
 public:
  // nullptr if there is none. Valid until the next call.
  const OrderAnswer* find(const OrderQuestion& question) const;
  // The same question, but for a smaller budget that was kept: of several the answer that takes
  // least extra time. So a budget that is kept stays kept when it is loosened.
  const OrderAnswer* find_tighter(const OrderQuestion& question) const;
  void keep(OrderQuestion question, OrderAnswer answer);

 private:
  struct Entry {
    OrderQuestion question;
    OrderAnswer answer;
  };
  std::deque<Entry> entries_; // the oldest first
  size_t nodes_ = 0;          // of their graphs
};

OrderCache& order_cache();

} // namespace narrows
