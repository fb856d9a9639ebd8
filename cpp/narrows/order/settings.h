// Settings of the order in which graphs are evaluated.
#pragma once

#include <cstdint>
#include <string_view>

namespace narrows {

enum class OrderPolicy : uint8_t {
  width,  // breadth-first, bounded by a number of nodes
  memory, // planned by bytes, see order_memory.h
};

const char* name_of(OrderPolicy policy);
// ValueError if it names none.
OrderPolicy order_policy_from(std::string_view name);

// How new evaluations of a thread are ordered.
struct OrderOptions {
  OrderPolicy policy;
  int64_t width; // of OrderPolicy::width

  // Bytes of active memory to stay within if that can be done, in a plan's main memory; 0: none.
  int64_t budget;

  // Bytes that are nobody's concern. The memory order leaves a graph alone that allocates no more
  // in all, and a peak may grow to as much for the sake of parallelism; a higher one by 1/34,
  // unless this is 0.
  int64_t small_bytes;

  // Whether nodes may run more than once for the sake of the budget; or, where there is none, for
  // that of a strict memory limit.
  bool recompute = false;

  bool operator==(const OrderOptions&) const = default;
};

// Those of this thread: of its innermost scopes, else of the process, else of the environment.
// NARROWS_ORDER names the policy; without it, a width in NARROWS_BFS_MAX_WIDTH, else in
// MLX_BFS_MAX_WIDTH, selects the width order.
OrderOptions order_options();

// The policy of the process. Each returns the previous value.
OrderPolicy set_order_policy(OrderPolicy policy);
// Sets the width, 20 at first, and selects the width order. ValueError if width < 1.
int64_t set_bfs_max_width(int64_t width);
// ValueError if bytes < 0. See OrderOptions for both.
int64_t set_memory_budget(int64_t bytes, bool recompute = true);

// What scopes set on this thread.
struct ScopedOrder {
  bool has_policy = false;
  OrderPolicy policy = OrderPolicy::width;
  int64_t width = 0;        // 0: none
  int64_t budget = -1;      // -1: none
  bool recompute = true;    // of that budget
  int64_t small_bytes = -1; // -1: none
};

// While it lives, this thread has settings of its own.
class OrderScope {
 public:
  ~OrderScope();
  OrderScope(const OrderScope&) = delete;
  OrderScope& operator=(const OrderScope&) = delete;

 protected:
  explicit OrderScope(const ScopedOrder& settings);

 private:
  ScopedOrder previous_;
};

class OrderPolicyScope : public OrderScope {
 public:
  explicit OrderPolicyScope(OrderPolicy policy);
};

// Sets the width and selects the width order.
class BfsMaxWidthScope : public OrderScope {
 public:
  explicit BfsMaxWidthScope(int64_t width);
};

class MemoryBudgetScope : public OrderScope {
 public:
  explicit MemoryBudgetScope(int64_t bytes, bool recompute = true);
};

class SmallBytesScope : public OrderScope {
 public:
  explicit SmallBytesScope(int64_t bytes);
};

} // namespace narrows
