#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <optional>
#include <utility>

#include "bindings/define.h"
#include "bindings/files.h"
#include "bindings/tree.h"
#include "narrows/fuse/settings.h"
#include "narrows/observe/report.h"
#include "narrows/order/rates.h"
#include "narrows/order/search.h"

namespace narrows::python {
namespace {

// A report that several Python objects share.
using ReportRef = std::shared_ptr<const PlanReport>;

struct PythonStep {
  ReportRef report;
  size_t index;

  const PlanReport::Step& row() const {
    return report->steps[index];
  }
};

std::vector<std::string> names_of(const PlanReport& report, const std::vector<uint32_t>& arrays) {
  std::vector<std::string> names;
  for (uint32_t i : arrays) {
    names.push_back(report.arrays[i].name);
  }
  return names;
}

// The arrays of positional and keyword arguments. Keywords name theirs.
struct NamedArrays {
  std::vector<array> arrays;
  ArrayNames names;
};

NamedArrays named_arrays(const nb::args& args, const nb::kwargs& kwargs) {
  NamedArrays result{arrays_in(args), {}};
  for (auto [key, value] : kwargs) {
    const std::string name = nb::cast<std::string>(key);
    const std::vector<array> found = arrays_in(value);
    for (size_t i = 0; i < found.size(); ++i) {
      result.arrays.push_back(found[i]);
      result.names.emplace_back(
          found[i], found.size() == 1 ? name : name + "_" + std::to_string(i));
    }
  }
  return result;
}

// Takes a number or a truth value out of keywords that name arrays.
template <typename T, typename PythonT>
std::optional<T> take(nb::kwargs& kwargs, const char* name) {
  if (!kwargs.contains(name) || !nb::isinstance<PythonT>(kwargs[name])) {
    return std::nullopt;
  }
  const T value = nb::cast<T>(kwargs[name]);
  nb::del(kwargs[name]);
  return value;
}

int64_t least_budget_of(const std::vector<array>& arrays) {
  nb::gil_scoped_release release;
  measure_rates(default_device()); // before the lock
  std::lock_guard lock(graph_mutex());
  return least_budget(arrays, order_options(), fusion_enabled());
}

PlanReport report_of(const nb::args& args, const nb::kwargs& kwargs, bool with_orders) {
  const NamedArrays named = named_arrays(args, kwargs);
  nb::gil_scoped_release release;
  return describe_plan(named.arrays, named.names, with_orders);
}

nb::tuple shape_tuple(const Shape& shape) {
  nb::list sizes;
  for (int64_t n : shape) {
    sizes.append(n);
  }
  return nb::tuple(sizes);
}

nb::dict alive_dict(const PlanReport& report, const PlanReport::AliveArray& alive) {
  const PlanReport::Array& value = report.arrays[alive.array];
  nb::dict row;
  row["name"] = value.name;
  row["shape"] = shape_tuple(value.shape);
  row["dtype"] = std::string(name_of(value.dtype));
  row["bytes"] = alive.bytes;
  row["origin"] = value.origin;
  return row;
}

nb::dict array_dict(const PlanReport::Array& value) {
  nb::dict row;
  row["name"] = value.name;
  row["shape"] = shape_tuple(value.shape);
  row["dtype"] = std::string(name_of(value.dtype));
  row["bytes"] = value.bytes;
  row["kind"] = name_of(value.kind);
  row["origin"] = value.origin;
  return row;
}

nb::dict step_dict(const PlanReport& report, const PlanReport::Step& step) {
  nb::dict row;
  row["op"] = step.op;
  row["parameters"] = step.parameters;
  row["stream"] = to_string(step.stream);
  row["inputs"] = names_of(report, step.inputs);
  row["outputs"] = names_of(report, step.outputs);
  row["input_indices"] = step.inputs; // names need not be unique
  row["output_indices"] = step.outputs;
  row["allocated_bytes"] = step.allocated_bytes;
  row["workspace_bytes"] = step.workspace_bytes;
  row["freed_bytes"] = step.freed_bytes;
  row["live_bytes"] = step.live_bytes;
  row["peak_bytes"] = step.peak_bytes;
  row["repeats"] = step.repeats;
  row["origin"] = step.origin;
  return row;
}

std::string to_json(const PlanReport& report) {
  nb::dict top;
  top["active_before"] = report.active_before;
  top["predicted_peak"] = report.predicted_peak;
  top["peak_step"] = report.peak_step;
  nb::list memories;
  for (const PlanReport::Memory& memory : report.memories) {
    nb::dict row;
    row["device"] = to_string(memory.device);
    row["active_before"] = memory.active_before;
    row["predicted_peak"] = memory.predicted_peak;
    memories.append(row);
  }
  top["memories"] = memories;
  nb::list alive;
  for (const PlanReport::AliveArray& value : report.alive_at_peak) {
    alive.append(alive_dict(report, value));
  }
  top["alive_at_peak"] = alive;
  top["order"] = order_name(report.order);
  top["order_policy"] = name_of(report.order.policy);
  if (report.order.policy == OrderPolicy::width) {
    top["bfs_max_width"] = report.order.width;
  }
  top["memory_budget"] = report.order.budget;
  top["over_budget"] = report.over_budget;
  top["repeated_steps"] = report.repeated_steps;
  top["repeated_bytes"] = report.repeated_bytes;
  top["offloaded_bytes"] = report.offloaded_bytes;
  top["extra_time"] = report.extra_time;
  nb::list orders;
  for (const PlanReport::Order& order : report.orders) {
    nb::dict row;
    row["name"] = order.name;
    row["predicted_peak"] = order.predicted_peak;
    row["peak_bytes"] = order.peak_bytes;
    orders.append(row);
  }
  top["orders"] = orders;
  nb::list arrays;
  for (const PlanReport::Array& value : report.arrays) {
    arrays.append(array_dict(value));
  }
  top["arrays"] = arrays;
  nb::list steps;
  for (const PlanReport::Step& step : report.steps) {
    steps.append(step_dict(report, step));
  }
  top["steps"] = steps;
  return nb::cast<std::string>(nb::module_::import_("json").attr("dumps")(top));
}

void bind_step_class(nb::module_& m) {
  nb::class_<PythonStep>(
      m, "PlanStep", "One step of a plan: an operation, with the bytes it takes and frees.")
      .def_prop_ro(
          "op", [](const PythonStep& s) { return s.row().op; }, "The operation's name.")
      .def_prop_ro(
          "parameters", [](const PythonStep& s) { return s.row().parameters; }, "As text.")
      .def_prop_ro(
          "inputs",
          [](const PythonStep& s) { return names_of(*s.report, s.row().inputs); },
          "Names of the arrays that it reads.")
      .def_prop_ro(
          "outputs",
          [](const PythonStep& s) { return names_of(*s.report, s.row().outputs); },
          "Names of the arrays that it makes.")
      .def_prop_ro(
          "allocated_bytes",
          [](const PythonStep& s) { return s.row().allocated_bytes; },
          "Bytes of new buffers; 0 for views and where an input is overwritten.")
      .def_prop_ro(
          "workspace_bytes",
          [](const PythonStep& s) { return s.row().workspace_bytes; },
          "Bytes of scratch, freed when the step ends.")
      .def_prop_ro(
          "freed_bytes",
          [](const PythonStep& s) { return s.row().freed_bytes; },
          "Bytes of buffers that die with the step.")
      .def_prop_ro(
          "live_bytes",
          [](const PythonStep& s) { return s.row().live_bytes; },
          "Active memory after the step.")
      .def_prop_ro(
          "peak_bytes",
          [](const PythonStep& s) { return s.row().peak_bytes; },
          "Active memory while the step runs.")
      .def_prop_ro(
          "repeats",
          [](const PythonStep& s) { return s.row().repeats; },
          "Whether it has run before in the plan, and runs again to keep a memory budget.")
      .def_prop_ro(
          "origin",
          [](const PythonStep& s) { return s.row().origin; },
          "The line that recorded it, 'train.py:12', if set_trace_origin() was on then; else ''.")
      .def("__repr__", [](const PythonStep& s) {
        return concat_message("PlanStep(", s.row().op, ", live_bytes=", s.row().live_bytes, ")");
      });
}

void bind_plan_class(nb::module_& m) {
  nb::class_<PlanReport>(
      m,
      "Plan",
      "What evaluating arrays will do: steps in evaluation order with the bytes live after each, "
      "and the predicted peak. Printing it shows a line for each step.")
      .def_ro("active_before", &PlanReport::active_before, "Active memory when it was planned.")
      .def_ro(
          "predicted_peak",
          &PlanReport::predicted_peak,
          "What get_peak_memory() will be after the evaluation, in bytes. Where devices have "
          "memory of "
          "their own, this and what the steps say is of the one in which the graph has most bytes.")
      .def_prop_ro(
          "predicted_peaks",
          [](const PlanReport& plan) {
            nb::dict peaks;
            for (const PlanReport::Memory& memory : plan.memories) {
              peaks[nb::cast(memory.device)] = memory.predicted_peak;
            }
            return peaks;
          },
          nb::sig("def predicted_peaks(self) -> dict[Device, int]"),
          "The predicted peak by device, of those that have memory of their own; that in which the "
          "graph has most bytes is the first.")
      .def_ro("peak_step", &PlanReport::peak_step, "Index of the step where the peak is reached.")
      .def_prop_ro(
          "alive_at_peak",
          [](const PlanReport& plan) {
            nb::list alive;
            for (const PlanReport::AliveArray& value : plan.alive_at_peak) {
              alive.append(alive_dict(plan, value));
            }
            return alive;
          },
          nb::sig("def alive_at_peak(self) -> list[dict]"),
          "The arrays that fill memory at the peak step, largest first: dicts with name, shape, "
          "dtype, bytes (of the buffer) and origin. Arrays that outlive the plan unchanged are "
          "left "
          "out.")
      .def_prop_ro(
          "order_policy",
          [](const PlanReport& plan) { return std::string(name_of(plan.order.policy)); },
          "The policy that it was ordered by, 'memory' or 'width'.")
      .def_prop_ro(
          "memory_budget",
          [](const PlanReport& plan) { return plan.order.budget; },
          "The budget that it was planned for, in bytes; 0 if there is none.")
      .def_ro(
          "over_budget",
          &PlanReport::over_budget,
          "By how many bytes the predicted peak passes the budget; 0 if it does not.")
      .def_ro(
          "repeated_steps",
          &PlanReport::repeated_steps,
          "How many steps have run before in the plan, and run again to keep the budget.")
      .def_ro("repeated_bytes", &PlanReport::repeated_bytes, "Bytes that these steps allocate.")
      .def_ro(
          "offloaded_bytes",
          &PlanReport::offloaded_bytes,
          "Bytes that are copied to the host, and back later, to keep the budget.")
      .def_ro(
          "extra_time",
          &PlanReport::extra_time,
          "The time that these steps take, estimated, as a share of that of all others.")
      .def_prop_ro(
          "live_bytes",
          [](const PlanReport& plan) {
            std::vector<int64_t> live;
            for (const PlanReport::Step& step : plan.steps) {
              live.push_back(step.live_bytes);
            }
            return live;
          },
          "Active memory after each step, in bytes.")
      .def_prop_ro(
          "steps",
          [](const PlanReport& plan) {
            const auto report = std::make_shared<const PlanReport>(plan);
            std::vector<PythonStep> steps;
            for (size_t i = 0; i < plan.steps.size(); ++i) {
              steps.push_back({report, i});
            }
            return steps;
          },
          "The steps in evaluation order.")
      .def("__len__", [](const PlanReport& plan) { return plan.steps.size(); })
      .def("__str__", &plan_text)
      .def(
          "__repr__",
          [](const PlanReport& plan) {
            return concat_message(
                "Plan(", plan.steps.size(), " steps, predicted_peak=", plan.predicted_peak, ")");
          })
      .def(
          "to_dot",
          [](const PlanReport& plan, nb::handle file) {
            return text_or_file(plan_dot(plan), file);
          },
          "file"_a = nb::none(),
          nb::sig("def to_dot(self, file: object | None = None) -> str | None"),
          dedented(
              R"(The graph in the language of Graphviz, with steps numbered in evaluation order.

          Args:
            file: Where the text is written: a path, or an object with write(). None: it is
              returned.

          Returns:
            The text, or None if it was written.

          Raises:
            OSError: If the file cannot be written.

          Example:
            >>> mx.plan(mx.ones(3) + 1).to_dot().splitlines()[0]
            'digraph {'
          )")
              .c_str())
      .def(
          "to_json",
          [](const PlanReport& plan, nb::handle file) { return text_or_file(to_json(plan), file); },
          "file"_a = nb::none(),
          nb::sig("def to_json(self, file: object | None = None) -> str | None"),
          dedented(R"(Arrays, steps and bytes as JSON.

          Args:
            file: Where the text is written: a path, or an object with write(). None: it is
              returned.

          Returns:
            The text, or None if it was written.

          Raises:
            OSError: If the file cannot be written.

          Example:
            >>> import json
            >>> sorted(json.loads(mx.plan(mx.ones(3) + 1).to_json()))[:3]
            ['active_before', 'alive_at_peak', 'arrays']
          )")
              .c_str())
      .def(
          "to_html",
          [](const PlanReport& plan, nb::handle file) {
            nb::object page = nb::module_::import_("narrows._plan_page").attr("page");
            return text_or_file(nb::cast<std::string>(page(to_json(plan))), file);
          },
          "file"_a = nb::none(),
          nb::sig("def to_html(self, file: object | None = None) -> str | None"),
          dedented(R"(A page that shows the plan in a browser.

          It draws the active memory over the steps with its peak, what other orders of the same
          graph would take, and the graph in evaluation order. It needs no other files.

          Args:
            file: Where the page is written: a path, or an object with write(). None: it is
              returned.

          Returns:
            The text, or None if it was written.

          Raises:
            OSError: If the file cannot be written.

          Example:
            >>> page = mx.plan(mx.ones(3) + 1).to_html()
          )")
              .c_str());
}

void bind_plan(nb::module_& m) {
  bind_step_class(m);
  bind_plan_class(m);
  define<"plan(*args: Any, **kwargs: Any) -> Plan">(
      m,
      [](const nb::args& args, nb::kwargs kwargs) {
        std::optional<MemoryBudgetScope> scope;
        const bool offload = take<bool, nb::bool_>(kwargs, "offload").value_or(false);
        if (const auto budget = take<int64_t, nb::int_>(kwargs, "budget")) {
          scope.emplace(*budget, true, offload);
        }
        return report_of(args, kwargs, true);
      },
      R"(The plan that `eval(*args)` would run now; nothing is computed.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays.
        **kwargs: The same; keywords name their arrays in the plan. But where `budget` is an
          integer, it is planned within that memory budget, in bytes, and `offload=True` allows
          copies on the host for it (see `set_memory_budget()`).

      Returns:
        A plan. Printing it shows a line for each step.

      Raises:
        ValueError: If the budget is negative.

      Example:
        >>> a = mx.ones((1024, 256))
        >>> mx.plan((a + 1).sum()).live_bytes[-1] > 0
        True
      )");
  define<"minimum_budget(*args: Any) -> int">(
      m,
      [](const nb::args& args) { return least_budget_of(arrays_in(args)); },
      R"(The least memory budget that `eval(*args)` can keep now; nothing is computed.

      It is found by planning for one budget after the other, computing values again as
      `set_memory_budget()` says, and is within half a percent of the lowest that the planner keeps.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays.

      Returns:
        Active memory in bytes, as budgets are: what is held outside of the graph counts.

      Example:
        >>> a = mx.ones((1024, 256))
        >>> total = (mx.exp(a) + mx.sin(a)).sum()
        >>> least = mx.minimum_budget(total)
        >>> mx.plan(total, budget=least).over_budget
        0
      )");
  define<"print_graph(*args: Any, **kwargs: Any) -> None">(
      m,
      [](const nb::args& args, const nb::kwargs& kwargs) {
        nb::print(nb::cast(graph_text(report_of(args, kwargs, false))), nb::str(""));
      },
      R"(Prints the graph behind arrays, a line for each operation in evaluation order.

      Args:
        *args: Arrays, or nested lists, tuples and dicts of arrays.
        **kwargs: The same; keywords name their arrays.

      Example:
        >>> mx.print_graph(y=mx.sum(mx.array([1.0, 2.0])))
        y () float32 = sum A [axes=(0)]
      )");
  define<"export_to_dot(file: object, *args: Any, **kwargs: Any) -> None">(
      m,
      [](nb::handle file, const nb::args& args, const nb::kwargs& kwargs) {
        write_text(file, plan_dot(report_of(args, kwargs, false)));
      },
      R"(Writes the graph behind arrays in the language of Graphviz.

      Args:
        file: A path, or an object with write().
        *args: Arrays, or nested lists, tuples and dicts of arrays.
        **kwargs: The same; keywords name their arrays.

      Raises:
        OSError: If the file cannot be written.

      Example:
        >>> import io
        >>> text = io.StringIO()
        >>> mx.export_to_dot(text, mx.ones(3) + 1)
        >>> text.getvalue().splitlines()[0]
        'digraph {'
      )");
}

const Binding binding{&bind_plan};

} // namespace
} // namespace narrows::python
