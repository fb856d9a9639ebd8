#include "narrows/run/evaluate.h"

#include <nanobind/stl/string.h>

#include <deque>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/tree.h"
#include "narrows/fuse/rule.h"
#include "narrows/order/settings.h"
#include "narrows/runtime/backend.h"

namespace narrows::python {
namespace {

bool all_ready(std::span<const array> arrays) {
  for (const array& a : arrays) {
    if (!a.is_ready()) {
      return false;
    }
  }
  return true;
}

void eval_trees(const nb::args& trees) {
  if (trees.size() == 1) {
    if (const array* a = array_inside(trees[0])) {
      evaluate(*a);
      return;
    }
  }
  evaluate(arrays_in(trees));
}

void async_eval_trees(const nb::args& trees) {
  const std::vector<array> arrays = arrays_in(trees);
  nb::gil_scoped_release release;
  async_eval(arrays);
}

// with bfs_max_width(n) and the like: one scope for each time it is entered.
template <typename Scope, typename Setting>
class OrderContext {
 public:
  explicit OrderContext(Setting setting) : setting_(setting) {
    Scope checks_the_setting(setting);
  }
  OrderContext(OrderContext&&) = default;
  void enter() {
    scopes_.emplace_back(setting_);
  }
  void exit() {
    scopes_.pop_back();
  }

 private:
  Setting setting_;
  std::deque<Scope> scopes_;
};

using PolicyContext = OrderContext<OrderPolicyScope, OrderPolicy>;
using WidthContext = OrderContext<BfsMaxWidthScope, int64_t>;
using BudgetContext = OrderContext<MemoryBudgetScope, int64_t>;
using FusionContext = OrderContext<FusionScope, bool>;

template <typename Context>
void bind_context(nb::module_& m, const char* name, const char* made_by) {
  nb::class_<Context>(m, name, made_by)
      .def("__enter__", [](Context& self) { self.enter(); })
      .def("__exit__", [](Context& self, const nb::args&) { self.exit(); });
}

void bind_order(nb::module_& m) {
  bind_context<PolicyContext>(m, "_OrderPolicyContext", "What order_policy() returns.");
  bind_context<WidthContext>(m, "_BfsMaxWidthContext", "What bfs_max_width() returns.");
  bind_context<BudgetContext>(m, "_MemoryBudgetContext", "What memory_budget() returns.");
  m.def(
      "set_order_policy",
      [](const std::string& policy) {
        return std::string(name_of(set_order_policy(order_policy_from(policy))));
      },
      "policy"_a,
      "How graphs are ordered for evaluation. 'memory', the default, plans by bytes: the best of "
      "several orders "
      "that hold little memory, and independent work side by side where the device gains from it "
      "and memory is left; its peak is never above that of width 20. 'width' is breadth-first "
      "bounded by set_bfs_max_width(). Returns the previous policy. ValueError for other names.");
  m.def(
      "order_policy",
      [](const std::string& policy) { return PolicyContext(order_policy_from(policy)); },
      "policy"_a,
      nb::sig("def order_policy(policy: str) -> _OrderPolicyContext"),
      "with order_policy(name): evaluations of this thread are ordered by it; see "
      "set_order_policy().");
  m.def(
      "set_bfs_max_width",
      &set_bfs_max_width,
      "width"_a,
      "Bounds the breadth of the order in which graphs are evaluated: 1 is depth-first and holds "
      "little memory, a large width is breadth-first. Selects the order policy 'width'. Returns "
      "the previous width. ValueError if it is below 1.");
  m.def(
      "bfs_max_width",
      [](int64_t width) { return WidthContext(width); },
      "width"_a,
      nb::sig("def bfs_max_width(width: int) -> _BfsMaxWidthContext"),
      "with bfs_max_width(n): evaluations of this thread use the width `n`; see "
      "set_bfs_max_width().");
  m.def(
      "set_memory_budget",
      &set_memory_budget,
      "bytes"_a,
      "Under the order policy 'memory', evaluations are planned so that the active memory stays "
      "within `bytes` if the planner finds an order that does; 0 is no budget. Where it finds "
      "none it takes the order with the lowest peak that it found: plan().over_budget says by how "
      "much that passes the budget. Returns the previous budget. ValueError if it is negative.");
  m.def(
      "memory_budget",
      [](int64_t bytes) { return BudgetContext(bytes); },
      "bytes"_a,
      nb::sig("def memory_budget(bytes: int) -> _MemoryBudgetContext"),
      "with memory_budget(n): evaluations of this thread have this budget; see "
      "set_memory_budget().");
}

void bind_fusion(nb::module_& m) {
  bind_context<FusionContext>(m, "_FusionContext", "What fusion() returns.");
  m.def(
      "set_fusion",
      &set_fusion,
      "on"_a,
      "Whether chains of elementwise operations, with the constants, casts and reductions among "
      "them, run as one step over small tiles, without arrays for what is only used inside of the "
      "chain. The results have the same bits, and the peak memory is never higher. On by default, "
      "unless NARROWS_FUSION is 0 in the environment. Returns the previous setting.");
  m.def(
      "fusion",
      [](bool on) { return FusionContext(on); },
      "on"_a,
      nb::sig("def fusion(on: bool) -> _FusionContext"),
      "with fusion(on): evaluations of this thread fuse, or do not; see set_fusion().");
}

} // namespace

void evaluate(std::span<const array> arrays) {
  // Where devices run behind the host, it waits for them.
  if (!all_ready(arrays) || has_separate_memories()) {
    nb::gil_scoped_release release;
    eval(arrays);
  }
}

// The handle is copied: while the lock is released, other threads may assign to `a`.
void evaluate(const array& a) {
  if (!a.is_ready()) {
    const array held = a;
    nb::gil_scoped_release release;
    eval(held);
  }
}

array evaluated_on_host(const array& a) {
  evaluate(a);
  if (!has_separate_memories()) {
    return a;
  }
  const array held = a;
  nb::gil_scoped_release release;
  return held.on_host();
}

namespace {

void bind_evaluate(nb::module_& m) {
  m.def(
      "eval",
      &eval_trees,
      nb::sig("def eval(*args) -> None"),
      "Computes the arrays in `args` (arrays or nested lists, tuples and dicts of arrays; other "
      "leaves are ignored) and returns when they are there. Raises what a computation raises; "
      "Ctrl-C stops it between two operations.");
  m.def(
      "async_eval",
      &async_eval_trees,
      nb::sig("def async_eval(*args)"),
      "Starts to compute the arrays in `args` on the streams' threads and returns. An error is "
      "raised when one of them, or what depends on it, is evaluated.");
  bind_order(m);
  bind_fusion(m);
}

const Binding binding{&bind_evaluate};

} // namespace
} // namespace narrows::python
