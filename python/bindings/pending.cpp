#include "narrows/record/pending.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "bindings/bindings.h"
#include "narrows/core/errors.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows::python {
namespace {

// Other threads must be able to run Python while this one evaluates: the work may wait for theirs.
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
  m.def(
      "set_auto_eval",
      [](std::optional<int64_t> bytes, std::optional<int64_t> nodes) {
        return bounds_dict(set_auto_eval({bytes.value_or(0), nodes.value_or(0)}));
      },
      nb::kw_only(),
      "bytes"_a = nb::none(),
      "nodes"_a = nb::none(),
      nb::sig("def set_auto_eval(*, bytes: int | None = None, nodes: int | None = None) -> dict"),
      "Bounds the work that is recorded and not evaluated, so that a program that seldom reads a "
      "value runs in bounded memory: when an operation makes more than `nodes` operations pending, "
      "or their results would take more than `bytes` in all, it evaluates what its thread has "
      "recorded and somebody still holds, as eval() would, before it returns. None or 0 is no "
      "bound, and the default. An error of that evaluation is raised by the operation, which can "
      "be "
      "called again. Nothing is evaluated while a function is being transformed. Returns the "
      "previous bounds as a dict: set_auto_eval(**previous) restores them. ValueError if one is "
      "negative.");
  m.def("get_pending_nodes", &get_pending_nodes, "Operations that are recorded and not evaluated.");
  m.def(
      "graph_info",
      &graph_info,
      nb::sig("def graph_info() -> dict"),
      "What is held by lazy evaluation, as a dict. pending_nodes: operations recorded and not "
      "evaluated; pending_bytes: what their results would take; oldest_pending: the one that waits "
      "longest (None if there is none), a dict with op, age (operations recorded since) and origin "
      "(see set_trace_origin()); live_buffers: buffers that arrays hold; auto_eval: the bounds of "
      "set_auto_eval(); auto_evals: how often they were passed.");
}

const Binding binding{&bind_pending};

} // namespace
} // namespace narrows::python
