#include "narrows/record/pending.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "bindings/define.h"
#include "narrows/core/errors.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows::python {
namespace {

// Evaluates without the interpreter's lock, because the work may wait for other Python threads.
void evaluate_without_lock(std::span<const array> outputs) {
  std::optional<nb::gil_scoped_release> release;
  if (PyGILState_Check()) {
    release.emplace();
  }
  eval(outputs);
}

nb::dict bounds_dict(const AutoEval& bounds) {
  nb::dict row;
  row["bytes"] = bounds.bytes;
  row["nodes"] = bounds.nodes;
  return row;
}

nb::object oldest_dict(const PendingWork& work) {
  if (work.nodes == 0) {
    return nb::none();
  }
  nb::dict row;
  row["op"] = work.oldest_op;
  row["age"] = work.oldest_age;
  row["origin"] = work.oldest_origin;
  return row;
}

nb::dict graph_info() {
  const PendingWork work = pending_work();
  nb::dict info;
  info["pending_nodes"] = work.nodes;
  info["pending_bytes"] = work.bytes;
  info["oldest_pending"] = oldest_dict(work);
  info["live_buffers"] = get_live_buffers();
  info["auto_eval"] = bounds_dict(get_auto_eval());
  info["auto_evals"] = auto_eval_count();
  return info;
}

void bind_pending(nb::module_& m) {
  set_auto_evaluator(evaluate_without_lock);
  define<"set_auto_eval(*, bytes: int | None = None, nodes: int | None = None) -> dict">(
      m,
      [](std::optional<int64_t> bytes, std::optional<int64_t> nodes) {
        return bounds_dict(set_auto_eval({bytes.value_or(0), nodes.value_or(0)}));
      },
      R"(Bounds the work that is recorded and not evaluated.

      A program that seldom reads a value so runs in bounded memory. When an operation passes a
      bound, it evaluates what its thread has recorded and somebody still holds, as `eval()`
      would, before it returns. An error of that evaluation is raised by the operation, which can
      be called again. Nothing is evaluated while a function is being transformed.

      Args:
        bytes: How many bytes the results of pending operations may take; None or 0 is no bound.
        nodes: How many operations may be pending; None or 0 is no bound.

      Returns:
        The previous bounds; `set_auto_eval(**previous)` restores them.

      Raises:
        ValueError: If a bound is negative.

      Example:
        >>> previous = mx.set_auto_eval(nodes=100)
        >>> mx.set_auto_eval(**previous)
        {'bytes': 0, 'nodes': 100}
      )");
  define<"get_pending_nodes() -> int">(
      m,
      &get_pending_nodes,
      R"(How many operations are recorded and not evaluated.

      Returns:
        A number.

      Example:
        >>> before = mx.get_pending_nodes()
        >>> a = mx.ones(3) + mx.ones(3)
        >>> mx.get_pending_nodes() - before
        3
      )");
  define<"graph_info() -> dict">(
      m,
      &graph_info,
      R"(What lazy evaluation holds.

      Returns:
        A dict. pending_nodes: operations that are recorded and not evaluated. pending_bytes: what
        their results would take. oldest_pending: the operation that waits longest, None if there
        is none, else a dict with op, age (operations recorded since) and origin (see
        `set_trace_origin()`). live_buffers: buffers that arrays hold. auto_eval: the bounds of
        `set_auto_eval()`. auto_evals: how often they were passed.

      Example:
        >>> a = mx.ones(3)
        >>> mx.graph_info()["pending_nodes"] > 0
        True
      )");
}

const Binding binding{&bind_pending};

} // namespace
} // namespace narrows::python
