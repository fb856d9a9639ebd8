#include "narrows/run/evaluate.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <deque>
#include <optional>

#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/tree.h"
#include "narrows/fuse/settings.h"
#include "narrows/order/settings.h"
#include "narrows/runtime/backend.h"
#include "narrows/runtime/tf32.h"

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

// The scope of the arguments `budget` and `offload`.
class GivenBudget {
 public:
  GivenBudget(std::optional<int64_t> bytes, bool offload) {
    if (bytes) {
      scope_.emplace(*bytes, true, offload);
    }
  }

 private:
  std::optional<MemoryBudgetScope> scope_;
};

void eval_trees(const nb::args& trees, std::optional<int64_t> budget, bool offload) {
  const GivenBudget scope(budget, offload);
  if (trees.size() == 1) {
    if (const array* a = array_inside(trees[0])) {
      evaluate(*a);
      return;
    }
  }
  evaluate(arrays_in(trees));
}

void async_eval_trees(const nb::args& trees, std::optional<int64_t> budget, bool offload) {
  const GivenBudget scope(budget, offload);
  const std::vector<array> arrays = arrays_in(trees);
  nb::gil_scoped_release release;
  async_eval(arrays);
}

// `with bfs_max_width(n)` and similar. Each time it is entered it makes a scope.
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

struct Budget {
  int64_t bytes;
  bool recompute;
  bool offload;
};
struct BudgetScope : MemoryBudgetScope {
  explicit BudgetScope(const Budget& budget)
      : MemoryBudgetScope(budget.bytes, budget.recompute, budget.offload) {
  }
};
using BudgetContext = OrderContext<BudgetScope, Budget>;
using FusionContext = OrderContext<FusionScope, bool>;
using Tf32Context = OrderContext<Tf32Scope, bool>;

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
  define<"set_order_policy(policy: str) -> str">(
      m,
      [](const std::string& policy) {
        return std::string(name_of(set_order_policy(order_policy_from(policy))));
      },
      R"(Sets how graphs are ordered for evaluation.

      Args:
        policy: 'memory', the default, plans by bytes. It takes the best of several orders that hold
          little memory, and puts independent work side by side where the device gains from it and
          memory is left. Its peak is never above that of width 20. 'width' is breadth-first,
          bounded by `set_bfs_max_width()`.

      Returns:
        The previous policy.

      Raises:
        ValueError: For other names.

      Example:
        >>> previous = mx.set_order_policy("width")
        >>> mx.set_order_policy(previous)
        'width'
      )");
  define<"order_policy(policy: str) -> contextlib.AbstractContextManager[object]">(
      m,
      [](const std::string& policy) { return PolicyContext(order_policy_from(policy)); },
      R"(A scope in which evaluations of this thread are ordered by a policy.

      Args:
        policy: 'memory' or 'width', as for `set_order_policy()`.

      Returns:
        A context manager.

      Raises:
        ValueError: For other names.

      Example:
        >>> a = mx.ones(3) + 1
        >>> with mx.order_policy("width"):
        ...     mx.eval(a)
      )");
  define<"set_bfs_max_width(width: int) -> int">(
      m,
      &set_bfs_max_width,
      R"(Bounds the breadth of the order in which graphs are evaluated.

      It selects the order policy 'width'.

      Args:
        width: How many operations may wait at once. 1 is depth-first and holds little memory; a
          large number is breadth-first.

      Returns:
        The previous width.

      Raises:
        ValueError: If it is below 1.

      Example:
        >>> policy = mx.set_order_policy("width")
        >>> width = mx.set_bfs_max_width(1)
        >>> mx.set_bfs_max_width(width)
        1
        >>> mx.set_order_policy(policy)
        'width'
      )");
  define<"bfs_max_width(width: int) -> contextlib.AbstractContextManager[object]">(
      m,
      [](int64_t width) { return WidthContext(width); },
      R"(A scope in which evaluations of this thread use the order policy 'width' and a given width.

      Args:
        width: As for `set_bfs_max_width()`.

      Returns:
        A context manager.

      Raises:
        ValueError: If it is below 1.

      Example:
        >>> arrays = [mx.zeros(1024, mx.int64).astype(mx.int8) for _ in range(10)]
        >>> with mx.bfs_max_width(1):
        ...     depth_first = mx.plan(arrays).predicted_peak
        >>> with mx.bfs_max_width(1000):
        ...     mx.plan(arrays).predicted_peak >= depth_first
        True
      )");
  define<"set_memory_budget(bytes: int, recompute: bool = True, offload: bool = False) -> int">(
      m,
      &set_memory_budget,
      R"(Sets the active memory that evaluations are to stay within.

      Where devices have memory of their own, it bounds that of the one in which a graph has most
      bytes.

      It holds for the order policy 'memory'. Where the planner finds no order that stays within the
      budget, it lets values go and computes them again later, so that least time is lost. The
      results have the same bits. Where that does not suffice either, it takes the plan with the
      lowest peak, and `plan().over_budget` says by how much that passes the budget.
      `minimum_budget()` says what would suffice.

      Args:
        bytes: The budget in bytes; 0 is none.
        recompute: Whether values may be computed again for it. Without a budget: for a strict
          memory limit, see `set_memory_limit()`.
        offload: Whether values may be copied to the host and back for it, where that takes less
          time than computing them again. On the host they count as the host's. Where a device
          shares the host's memory, it has no effect.

      Returns:
        The previous budget.

      Raises:
        ValueError: If it is negative.

      Example:
        >>> previous = mx.set_memory_budget(1 << 30)
        >>> mx.set_memory_budget(previous)
        1073741824
      )");
  define<
      "memory_budget(bytes: int, recompute: bool = True, offload: bool = False) -> "
      "contextlib.AbstractContextManager[object]">(
      m,
      [](int64_t bytes, bool recompute, bool offload) {
        return BudgetContext({bytes, recompute, offload});
      },
      R"(A scope in which evaluations of this thread have a memory budget.

      Args:
        bytes: As for `set_memory_budget()`.
        recompute: As for `set_memory_budget()`.
        offload: As for `set_memory_budget()`.

      Returns:
        A context manager.

      Raises:
        ValueError: If it is negative.

      Example:
        >>> with mx.memory_budget(1 << 30):
        ...     mx.plan(mx.ones(1024) + 1).over_budget
        0
      )");
}

void bind_fusion(nb::module_& m) {
  bind_context<FusionContext>(m, "_FusionContext", "What fusion() returns.");
  define<"set_fusion(on: bool) -> bool">(
      m,
      &set_fusion,
      R"(Sets whether chains of operations run as one step.

      Such a chain is made of elementwise operations, with the constants, casts and reductions
      among them. It runs over small tiles, and needs no arrays for what is only used inside of
      it. The results have the same bits, and the peak memory is never higher.

      Args:
        on: True, the default unless NARROWS_FUSION is 0 in the environment, or False.

      Returns:
        The previous setting.

      Example:
        >>> previous = mx.set_fusion(False)
        >>> mx.set_fusion(previous)
        False
      )");
  define<"fusion(on: bool) -> contextlib.AbstractContextManager[object]">(
      m,
      [](bool on) { return FusionContext(on); },
      R"(A scope in which evaluations of this thread fuse operations, or do not.

      Args:
        on: As for `set_fusion()`.

      Returns:
        A context manager.

      Example:
        >>> with mx.fusion(False):
        ...     steps = len(mx.plan(mx.exp(mx.ones(3)) * 2))
      )");
}

void bind_tf32(nb::module_& m) {
  bind_context<Tf32Context>(m, "_Tf32Context", "What tf32() returns.");
  define<"set_tf32(on: bool) -> bool">(
      m,
      &set_tf32,
      R"(Sets whether products, convolutions and attention of float32 may use TF32.

      TF32 is the format of the tensor cores of NVIDIA's GPUs for float32 numbers: factors are
      rounded to 10 bits of mantissa instead of 23, and sums are float32. Devices that have no such
      format compute in float32 in any case. What counts is the setting when arrays are evaluated.

      Args:
        on: True, the default unless NARROWS_ENABLE_TF32 or MLX_ENABLE_TF32 is 0 in the
          environment, or False.

      Returns:
        The previous setting.

      Example:
        >>> previous = mx.set_tf32(False)
        >>> mx.set_tf32(previous)
        False
      )");
  define<"tf32(on: bool) -> contextlib.AbstractContextManager[object]">(
      m,
      [](bool on) { return Tf32Context(on); },
      R"(A scope in which evaluations of this thread may use TF32, or may not.

      Args:
        on: As for `set_tf32()`.

      Returns:
        A context manager.

      Example:
        >>> with mx.tf32(False):
        ...     mx.eval(mx.ones((2, 3)) @ mx.ones((3, 2)))
      )");
  define<"tf32_enabled() -> bool">(
      m,
      &tf32_enabled,
      R"(Whether evaluations of this thread may use TF32, as `set_tf32()` and scopes say.

      Returns:
        The setting.

      Example:
        >>> with mx.tf32(False):
        ...     mx.tf32_enabled()
        False
      )");
}

} // namespace

void evaluate(std::span<const array> arrays) {
  // eval() also waits for devices that run behind the host.
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
  define<"eval(*args: Any, budget: int | None = None, offload: bool = False) -> None">(
      m,
      &eval_trees,
      R"(Computes arrays, and returns when they are there.

      Ctrl-C stops it between two operations. What did not run then, or after an error, stays lazy
      and can be evaluated again.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays. Other leaves are ignored.
        budget: Bytes of active memory to stay within, as for `set_memory_budget()`. None: what is
          set.
        offload: Whether values may be copied to the host and back for this budget.

      Raises:
        MemoryError: If the machine, or a strict limit, does not have the memory.
        ValueError: If the budget is negative.

      Example:
        >>> a = mx.ones(3) + 1
        >>> mx.eval(a, [a * 2])
      )");
  define<"async_eval(*args: Any, budget: int | None = None, offload: bool = False) -> None">(
      m,
      &async_eval_trees,
      R"(Starts to compute arrays on the threads of their streams, and returns at once.

      An error is raised when one of the arrays, or what depends on it, is evaluated.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays. Other leaves are ignored.
        budget: Bytes of active memory to stay within, as for `set_memory_budget()`. None: what is
          set.
        offload: Whether values may be copied to the host and back for this budget.

      Raises:
        ValueError: If the budget is negative.

      Example:
        >>> a = mx.ones(3) + 1
        >>> mx.async_eval(a)
        >>> a
        array([2, 2, 2], dtype=float32)
      )");
  bind_order(m);
  bind_fusion(m);
  bind_tf32(m);
}

const Binding binding{&bind_evaluate};

} // namespace
} // namespace narrows::python
