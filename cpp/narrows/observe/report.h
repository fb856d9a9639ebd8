// Reports of plans: names, steps in evaluation order, bytes. Printed graphs, Graphviz files and
// memory timelines are all formats of a report.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "narrows/order/settings.h"
#include "narrows/run/evaluate.h"

namespace narrows {

struct PlanReport {
  // How an array gets its memory.
  enum class Kind : uint8_t { input, allocated, view, donated };

  struct Array {
    std::string name; // the caller's, a number's value, or A, B, ... in evaluation order
    Shape shape;
    Dtype dtype;
    int64_t bytes; // of its elements
    Kind kind;
    std::string origin; // the line that recorded it, if that was traced
  };
  struct Step {
    std::string op;
    std::string parameters; // "axis=1, keepdims=true", or empty
    Stream stream;
    std::vector<uint32_t> inputs; // indices into arrays
    std::vector<uint32_t> outputs;
    int64_t allocated_bytes; // of new buffers
    int64_t workspace_bytes;
    int64_t freed_bytes;
    int64_t live_bytes; // active memory after the step, in the first of memories
    int64_t peak_bytes; // the same while it runs
    bool repeats;       // it has run before: keeping its values would pass the budget
    std::string origin; // the line that recorded it, if that was traced
  };
  // A buffer that the plan allocates or frees, under the array that was last put there.
  struct AliveArray {
    uint32_t array; // index into arrays
    int64_t bytes;  // as they are counted
  };

  // What the plan does to the memory of a device.
  struct Memory {
    Device device;
    int64_t active_before;  // active memory when the plan was made
    int64_t predicted_peak; // the get_peak_memory() that evaluating it leads to, if the peak is
                            // reset before
  };

  // The same graph in another order.
  struct Order {
    std::string name;                // "width 1"
    std::vector<int64_t> peak_bytes; // active memory while each of its steps runs
    int64_t predicted_peak;
  };

  std::vector<Array> arrays;
  std::vector<Step> steps;
  // Memories of devices that are separate; the one with most bytes of the graph comes first. All
  // numbers without a memory are of that one.
  std::vector<Memory> memories;
  int64_t active_before;
  int64_t predicted_peak;
  size_t peak_step;                      // the first step that reaches the peak
  std::vector<AliveArray> alive_at_peak; // largest first
  OrderOptions order;                    // the options that it was planned under
  int64_t over_budget;                   // bytes of predicted_peak above order.budget, or 0
  size_t repeated_steps;                 // those that have run before
  int64_t repeated_bytes;                // that these allocate
  double extra_time;         // of these and of copies, estimated, as a share of all others' time
  int64_t offloaded_bytes;   // copied to the host to keep the budget
  std::vector<Order> orders; // width 1, width 20, unlimited width, memory
};

// Names for some arrays, by identity.
using ArrayNames = std::vector<std::pair<array, std::string>>;

// The plan that eval(outputs) would run now, and what it would be in other orders if asked for.
PlanReport describe_plan(
    std::span<const array> outputs, const ArrayNames& names = {}, bool with_orders = true);

// One line for each step: "C (2, 3) float32 = add A, B".
std::string graph_text(const PlanReport& report);

// The same with bytes, and the peak: what printing a plan shows.
std::string plan_text(const PlanReport& report);

// The graph in Graphviz's language. Operations are numbered in evaluation order.
std::string plan_dot(const PlanReport& report);

const char* name_of(PlanReport::Kind kind);

// "memory", "width 20" or "width unlimited".
std::string order_name(const OrderOptions& order);

} // namespace narrows
