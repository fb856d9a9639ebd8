#include "narrows/observe/report.h"

#include <algorithm>
#include <cstring>
#include <iomanip>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "narrows/core/dispatch.h"
#include "narrows/fuse/fused_step.h"
#include "narrows/fuse/members.h"
#include "narrows/order/rates.h"
#include "narrows/plan/host_copy.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

// A, B, ..., Z, AA, AB, ...
std::string letters(size_t index) {
  std::string name;
  for (size_t n = index + 1; n > 0; n = (n - 1) / 26) {
    name.insert(name.begin(), static_cast<char>('A' + (n - 1) % 26));
  }
  return name;
}

// The value of a number, as text.
std::string literal_text(const Output& literal) {
  std::ostringstream text;
  dispatch(literal.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value;
    std::memcpy(&value, literal.buffer->memory, sizeof(T));
    if constexpr (std::is_same_v<T, complex64_t>) {
      text << value.real() << std::showpos << value.imag() << "j";
    } else if constexpr (std::is_arithmetic_v<T>) {
      text << +value;
    } else {
      text << static_cast<float>(value);
    }
  });
  return text.str();
}

class Reporter {
 public:
  Reporter(const Plan& plan, const Repeats& repeats, const ArrayNames& names)
      : plan_(plan), index_of_value_(plan.values.size(), kNone) {
    report_.repeated_steps = 0;
    report_.repeated_bytes = 0;
    report_.offloaded_bytes = 0;
    report_.extra_time = repeats.total > 0 ? repeats.extra / repeats.total : 0;
    for (const Repeats::Copy& copy : repeats.copies()) {
      if (copy.is_run) {
        copies_.insert(copy.node);
      }
    }
    for (const auto& [named, name] : names) {
      given_names_.emplace(named.output(), name);
    }
  }

  PlanReport run() {
    report_.order = order_options();
    add_memories();
    report_.active_before = report_.memories[0].active_before;
    report_.predicted_peak = report_.memories[0].predicted_peak;
    outside_ = report_.active_before - plan_.bytes_before();
    report_.peak_step = 0;
    for (const Step& step : plan_.steps) {
      add_step(step);
    }
    const auto peak = std::find_if(plan_.steps.begin(), plan_.steps.end(), [&](const Step& step) {
      return step.memory == plan_.main && step.peak_bytes == plan_.peak_bytes();
    });
    if (peak != plan_.steps.end()) {
      report_.peak_step = static_cast<size_t>(peak - plan_.steps.begin());
      add_alive_at_peak();
    }
    const int64_t budget = report_.order.budget;
    report_.over_budget = budget ? std::max<int64_t>(0, report_.predicted_peak - budget) : 0;
    return std::move(report_);
  }

 private:
  void add_memories() {
    const bool separate = has_separate_memories();
    for (size_t i = 0; i < (separate ? plan_.memories.size() : 1); ++i) {
      const PlannedMemory& memory = plan_.memories[i];
      const int64_t active = get_active_memory(memory.source ? *memory.source : default_memory());
      const Device device = separate                ? Device{static_cast<Device::Type>(i), 0}
                            : plan_.streams.empty() ? default_device()
                                                    : plan_.streams.back().device;
      report_.memories.push_back(
          {device, active, active - memory.bytes_before + memory.peak_bytes});
    }
    std::swap(report_.memories[0], report_.memories[plan_.main]);
  }

  void add_step(const Step& step) {
    PlanReport::Step row;
    std::ostringstream parameters;
    parameters << step.primitive->attributes();
    row.op = step.fused ? step.fused->title() : step.primitive->name();
    row.parameters = parameters.str();
    row.stream = step.stream;
    for (uint32_t value : plan_.inputs_of(step)) {
      row.inputs.push_back(array_of(value, PlanReport::Kind::input));
    }
    row.allocated_bytes = 0;
    for (uint32_t i = 0; i < step.allocations.count; ++i) {
      row.allocated_bytes += plan_.buffers[plan_.allocated[step.allocations.first + i]].bytes;
    }
    for (uint32_t value : plan_.outputs_of(step)) {
      row.outputs.push_back(array_of(value, kind_of(step, value)));
    }
    row.freed_bytes = 0;
    for (uint32_t i = 0; i < step.frees.count; ++i) {
      row.freed_bytes += plan_.buffers[plan_.freed[step.frees.first + i]].bytes;
    }
    row.workspace_bytes = std::max<int64_t>(0, step.workspace);
    row.live_bytes = outside_ + step.live_bytes;
    row.peak_bytes = outside_ + step.peak_bytes;
    row.repeats = step.node && copies_.count(step.node) > 0;
    report_.repeated_steps += row.repeats;
    report_.repeated_bytes += row.repeats ? row.allocated_bytes : 0;
    const bool to_host = step.primitive == to_host_primitive().get();
    report_.offloaded_bytes += to_host ? row.allocated_bytes : 0;
    row.origin = origin_text(origin_of(plan_, step));
    report_.steps.push_back(std::move(row));
  }

  // Replays the plan up to its peak.
  void add_alive_at_peak() {
    std::vector<uint32_t> latest(plan_.buffers.size(), kNone); // value by buffer; kNone: not alive
    for (uint32_t id = 0; id < plan_.input_count; ++id) {
      latest[plan_.values[id].buffer] = id;
    }
    for (size_t i = 0; i <= report_.peak_step; ++i) {
      const Step& step = plan_.steps[i];
      if (step.encodes) { // views write nothing
        for (uint32_t value : plan_.outputs_of(step)) {
          latest[plan_.values[value].buffer] = value;
        }
      }
      for (uint32_t f = 0; f < step.frees.count && i < report_.peak_step; ++f) {
        latest[plan_.freed[step.frees.first + f]] = kNone;
      }
    }
    for (uint32_t buffer = 0; buffer < latest.size(); ++buffer) {
      const int64_t bytes = plan_.main_bytes(buffer);
      if (latest[buffer] != kNone && bytes > 0) {
        report_.alive_at_peak.push_back({array_of(latest[buffer], PlanReport::Kind::input), bytes});
      }
    }
    std::stable_sort(
        report_.alive_at_peak.begin(),
        report_.alive_at_peak.end(),
        [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  }

  PlanReport::Kind kind_of(const Step& step, uint32_t value) const {
    const auto first = plan_.allocated.begin() + step.allocations.first;
    const auto last = first + step.allocations.count;
    if (std::find(first, last, plan_.values[value].buffer) != last) {
      return PlanReport::Kind::allocated;
    }
    return step.encodes ? PlanReport::Kind::donated : PlanReport::Kind::view;
  }

  // Arrays are named by letters in the order in which they appear. Numbers are named by their
  // values.
  uint32_t array_of(uint32_t id, PlanReport::Kind kind) {
    uint32_t& index = index_of_value_[id];
    if (index == kNone) {
      const PlannedValue& value = plan_.values[id];
      index = static_cast<uint32_t>(report_.arrays.size());
      report_.arrays.push_back(
          {name_of(*value.output),
           value.shape(),
           value.dtype(),
           element_count(value.shape()) * size_of(value.dtype()),
           kind,
           origin_text(value.output->node->origin())});
    }
    return index;
  }

  std::string name_of(const Output& output) {
    const auto given = given_names_.find(&output);
    return given != given_names_.end() ? given->second
           : is_literal(output)        ? literal_text(output)
                                       : letters(report_.arrays.size());
  }

  const Plan& plan_;
  std::vector<uint32_t> index_of_value_;
  std::unordered_map<const Output*, std::string> given_names_;
  std::unordered_set<const Node*> copies_; // that run again
  PlanReport report_;
  int64_t outside_ = 0; // bytes that the plan neither allocates nor frees
};

std::string step_text(const PlanReport& report, const PlanReport::Step& step) {
  std::ostringstream text;
  for (size_t i = 0; i < step.outputs.size(); ++i) {
    const PlanReport::Array& output = report.arrays[step.outputs[i]];
    text << (i ? ", " : "") << output.name << " " << to_string(output.shape) << " "
         << name_of(output.dtype);
  }
  text << " = " << step.op;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    text << (i ? ", " : " ") << report.arrays[step.inputs[i]].name;
  }
  if (!step.parameters.empty()) {
    text << " [" << step.parameters << "]";
  }
  return text.str();
}

std::string megabytes(int64_t bytes) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << static_cast<double>(bytes) / 1e6 << " MB";
  return text.str();
}

// The name of the order, and how the result compares with the budget.
std::string order_text(const PlanReport& report) {
  const OrderOptions& order = report.order;
  std::string text = order_name(order) + " order";
  if (order.budget > 0) {
    text += ", budget " + megabytes(order.budget);
    text += report.over_budget > 0 ? " exceeded by " + megabytes(report.over_budget) : " kept";
  }
  if (report.repeated_steps > 0) {
    text += ", " + std::to_string(report.repeated_steps) + " steps run again (" +
            megabytes(report.repeated_bytes) + ")";
  }
  if (report.offloaded_bytes > 0) {
    text += ", " + megabytes(report.offloaded_bytes) + " copied to the host and back";
  }
  if (report.repeated_steps > 0 || report.offloaded_bytes > 0) {
    std::ostringstream more;
    more << ", about " << std::fixed << std::setprecision(1) << 100 * report.extra_time
         << " % more time";
    text += more.str();
  }
  return text;
}

constexpr size_t kMostAliveLines = 10;

std::string alive_text(const PlanReport& report) {
  std::ostringstream text;
  text << "alive at step " << report.peak_step << ":\n";
  int64_t rest = report.predicted_peak - report.steps[report.peak_step].workspace_bytes;
  for (size_t i = 0; i < std::min(report.alive_at_peak.size(), kMostAliveLines); ++i) {
    const PlanReport::AliveArray& alive = report.alive_at_peak[i];
    const PlanReport::Array& array = report.arrays[alive.array];
    text << "        " << std::setw(14) << megabytes(alive.bytes) << "  " << array.name << " "
         << to_string(array.shape) << " " << name_of(array.dtype)
         << (array.origin.empty() ? "" : " (recorded at " + array.origin + ")") << "\n";
    rest -= alive.bytes;
  }
  if (report.alive_at_peak.size() > kMostAliveLines) {
    int64_t more = 0;
    for (size_t i = kMostAliveLines; i < report.alive_at_peak.size(); ++i) {
      more += report.alive_at_peak[i].bytes;
    }
    text << "        " << std::setw(14) << megabytes(more) << "  in "
         << report.alive_at_peak.size() - kMostAliveLines << " more\n";
    rest -= more;
  }
  if (report.steps[report.peak_step].workspace_bytes > 0) {
    text << "        " << std::setw(14) << megabytes(report.steps[report.peak_step].workspace_bytes)
         << "  workspace\n";
  }
  if (rest > 0) {
    text << "        " << std::setw(14) << megabytes(rest) << "  outside of the plan\n";
  }
  return text.str();
}

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
    }
    result += c;
  }
  return result;
}

} // namespace

const char* name_of(PlanReport::Kind kind) {
  constexpr const char* kNames[] = {"input", "allocated", "view", "donated"};
  return kNames[static_cast<size_t>(kind)];
}

std::string order_name(const OrderOptions& order) {
  if (order.policy == OrderPolicy::memory) {
    return "memory";
  }
  return order.width >= INT32_MAX ? "width unlimited" : "width " + std::to_string(order.width);
}

PlanReport describe_plan(
    std::span<const array> outputs, const ArrayNames& names, bool with_orders) {
  measure_rates_for_budget();
  Plan plan;
  Tape tape;
  std::lock_guard lock(graph_mutex());
  Repeats repeats = plan_outputs(outputs, tape, plan);
  PlanReport report = Reporter(plan, repeats, names).run();
  repeats.undo();
  if (!with_orders) {
    return report;
  }
  const auto add_order = [&](const std::string& suffix = "") {
    const Repeats again = plan_outputs(outputs, tape, plan);
    const int64_t outside = report.active_before - plan.bytes_before();
    PlanReport::Order order{order_name(order_options()) + suffix, {}, outside + plan.peak_bytes()};
    for (const Step& step : plan.steps) {
      order.peak_bytes.push_back(outside + step.peak_bytes);
    }
    report.orders.push_back(std::move(order));
  };
  for (const int64_t width : {int64_t{1}, int64_t{20}, kUnlimitedWidth}) {
    const BfsMaxWidthScope scope(width);
    add_order();
  }
  const OrderPolicyScope scope(OrderPolicy::memory);
  add_order();
  if (report.repeated_steps > 0) {
    const MemoryBudgetScope without(0, false);
    add_order(" without a budget");
  }
  return report;
}

std::string graph_text(const PlanReport& report) {
  std::string text;
  for (const PlanReport::Step& step : report.steps) {
    text += step_text(report, step) + "\n";
  }
  return text;
}

std::string plan_text(const PlanReport& report) {
  std::ostringstream text;
  text << report.steps.size() << " steps, predicted peak " << megabytes(report.predicted_peak);
  if (!report.steps.empty()) {
    text << " at step " << report.peak_step;
  }
  text << ", " << megabytes(report.active_before) << " active before, " << order_text(report)
       << "\n";
  for (size_t i = 0; i < report.steps.size(); ++i) {
    const PlanReport::Step& step = report.steps[i];
    text << std::setw(6) << i << "  " << std::setw(14) << megabytes(step.live_bytes) << "  "
         << step_text(report, step);
    for (uint32_t output : step.outputs) {
      if (report.arrays[output].kind != PlanReport::Kind::allocated) {
        text << " (" << name_of(report.arrays[output].kind) << ")";
        break;
      }
    }
    if (step.repeats) {
      text << " (again)";
    }
    if (step.workspace_bytes > 0) {
      text << " (workspace " << megabytes(step.workspace_bytes) << ")";
    }
    text << "\n";
  }
  if (!report.steps.empty()) {
    text << alive_text(report);
  }
  for (size_t i = 1; i < report.memories.size(); ++i) {
    text << "predicted peak of " << to_string(report.memories[i].device) << ": "
         << megabytes(report.memories[i].predicted_peak) << "\n";
  }
  return text.str();
}

std::string plan_dot(const PlanReport& report) {
  std::ostringstream dot;
  dot << "digraph {\n";
  for (size_t i = 0; i < report.arrays.size(); ++i) {
    const PlanReport::Array& value = report.arrays[i];
    dot << "  array" << i << " [shape=ellipse, label=\"" << escaped(value.name) << "\\n"
        << to_string(value.shape) << " " << name_of(value.dtype) << "\"];\n";
  }
  for (size_t i = 0; i < report.steps.size(); ++i) {
    const PlanReport::Step& step = report.steps[i];
    dot << "  step" << i << " [shape=box, label=\"" << i << ": " << escaped(step.op);
    if (!step.parameters.empty()) {
      dot << "\\n" << escaped(step.parameters);
    }
    if (step.repeats) {
      dot << "\\n(again)";
    }
    dot << "\"];\n";
    for (uint32_t input : step.inputs) {
      dot << "  array" << input << " -> step" << i << ";\n";
    }
    for (uint32_t output : step.outputs) {
      dot << "  step" << i << " -> array" << output << ";\n";
    }
  }
  dot << "}\n";
  return dot.str();
}

} // namespace narrows
