#include "narrows/order/costs.h"

#include <algorithm>
#include <array>
#include <limits>

#include "narrows/order/rates.h"
#include "narrows/record/primitive.h"
#include "narrows/record/work.h"
#include "narrows/runtime/host_copies.h"

namespace narrows {
namespace {

// How much faster than memory is what lies within a fused step.
constexpr double kWithinOfCpus = 5;
constexpr double kWithinOfGpus = 20;

double bytes_of(const Output& output) {
  return static_cast<double>(element_count(output.shape)) *
         static_cast<double>(size_of(output.dtype));
}

} // namespace

std::vector<double> step_costs(const Tape& nodes, const IsWithinStep& is_within_step) {
  const std::array rates_by_type{
      rates_of({Device::Type::cpu, 0}), rates_of({Device::Type::gpu, 0})};
  std::vector<double> costs;
  costs.reserve(nodes.size());
  std::vector<const Shape*> shapes;
  for (Node* node : nodes) {
    const Device::Type type = node->stream().device.type;
    const Rates& rates = rates_by_type[static_cast<size_t>(type)];
    const double within = type == Device::Type::cpu ? kWithinOfCpus : kWithinOfGpus;
    double seconds = 0;
    const auto add = [&](const Output& output) {
      const bool is_within = is_within_step && is_within_step(output);
      seconds += bytes_of(output) / (rates.bytes * (is_within ? within : 1));
      return is_within;
    };
    shapes.clear();
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const Output& input = *node->inputs()[i].output();
      add(input);
      shapes.push_back(&input.shape);
    }
    bool is_launched = node->output_count() == 0;
    for (uint32_t i = 0; i < node->output_count(); ++i) {
      is_launched |= !add(node->output(i));
    }
    if (const auto* work = dynamic_cast<const TellsFlops*>(&node->primitive())) {
      seconds = std::max(seconds, work->flops(shapes, node->output(0).shape) / rates.flops);
    }
    costs.push_back((is_launched ? rates.launch : 0) + seconds);
  }
  return costs;
}

void add_host_copies(const Tape& nodes, RecomputeCosts& costs) {
  constexpr double kBytes = 1e10; // in a second, where nothing is page-locked
  constexpr double kStart = 1e-5; // seconds
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto can_be = [](Node* node) {
    return node->stream().device.type == Device::Type::gpu && node->output_count() == 1;
  };
  if (!has_separate_memories() || std::none_of(nodes.begin(), nodes.end(), can_be)) {
    return;
  }
  costs.copies_run_beside = host_copies_of(backend_for({Device::Type::gpu, 0})) != nullptr;
  costs.host_bytes = host_copy_limit();
  const double bytes =
      costs.copies_run_beside ? rates_of({Device::Type::gpu, 0}).copied_bytes : kBytes;
  costs.host_copies.reserve(nodes.size());
  for (Node* node : nodes) {
    costs.host_copies.push_back(
        can_be(node) ? 2 * (kStart + bytes_of(node->output(0)) / bytes) : kNever);
  }
}

} // namespace narrows
