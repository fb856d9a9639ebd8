// Settings of the order in which graphs are evaluated.
#pragma once

#include <cstdint>
#include <string_view>

namespace narrows {

enum class OrderPolicy : uint8_t {
  width,  // breadth-first, bounded by a number of nodes
  memory, // planned by bytes, see search.h
};

const char* name_of(OrderPolicy policy);
// ValueError if it names none.
OrderPolicy order_policy_from(std::string_view name);

// The order of new evaluations of a thread.
struct OrderOptions {
  OrderPolicy policy;
  int64_t width; // of OrderPolicy::width

  // The bytes of active memory, in a plan's main memory, that an evaluation should stay within if
  // it can; 0: no budget.
  int64_t budget;

  // Bytes that are too few to matter. The memory order leaves graphs alone that allocate no more in
  // all, and parallelism may raise a peak to that size. It may raise a higher peak by 1/34, unless
  // this is 0.
  int64_t small_bytes;

  // Whether nodes may run more than once for the sake of the budget; or, where there is none, for
  // that of a strict memory limit.
  bool recompute = false;

  // Whether values may be copied to the host and back for that, where the memory of their device is
  // separate.
  bool offload = false;

  bool operator==(const OrderOptions&) const = default;
};

// The options of this thread: those of its innermost scopes, else of the process, else of the
// environment. NARROWS_ORDER names the policy. Without it, a width in NARROWS_BFS_MAX_WIDTH, else
// in MLX_BFS_MAX_WIDTH, selects the width order.
OrderOptions order_options();

// Set the policy, the width and the budget of the process. Each returns the previous value.
OrderPolicy set_order_policy(OrderPolicy policy);
// Sets the width, 20 at first, and selects the width order. ValueError if width < 1.
int64_t set_bfs_max_width(int64_t width);
// ValueError if bytes < 0. See OrderOptions for both.
int64_t set_memory_budget(int64_t bytes, bool recompute = true, bool offload = false);

// What scopes have set on this thread.
struct ScopedOrder {
  bool has_policy = false;
  OrderPolicy policy = OrderPolicy::width;
  int64_t width = 0;        // 0: none
  int64_t budget = -1;      // -1: none
  bool recompute = true;    // of that budget
  bool offload = false;     // of that budget
  int64_t small_bytes = -1; // -1: none
};

// While it lives, this thread has these settings.
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
  explicit MemoryBudgetScope(int64_t bytes, bool recompute = true, bool offload = false);
};

class SmallBytesScope : public OrderScope {
 public:
  explicit SmallBytesScope(int64_t bytes);
};

} // namespace narrows
