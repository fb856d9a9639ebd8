#include "narrows/order/costs.h"

#include <algorithm>
#include <limits>

#include "narrows/record/primitive.h"
#include "narrows/record/work.h"
#include "narrows/runtime/backend.h"

namespace narrows {
namespace {

// What a device does in a second, about. Proportions are what counts: a core of a CPU does some 10
// operations for each byte of memory that it reads, a GPU some 15.
struct Rates {
  double bytes;
  double flops;
  double launch; // seconds of a step that does nothing
};
constexpr Rates kCpuRates{1e10, 1e11, 1e-6};
constexpr Rates kGpuRates{2e12, 3e13, 3e-6};

double bytes_of(const Output& output) {
  return static_cast<double>(element_count(output.shape)) *
         static_cast<double>(size_of(output.dtype));
}

} // namespace

std::vector<double> step_costs(const Tape& nodes) {
  std::vector<double> costs;
  costs.reserve(nodes.size());
  std::vector<const Shape*> shapes;
  for (Node* node : nodes) {
    const bool on_cpu = node->stream().device.type == Device::Type::cpu;
    const Rates& rates = on_cpu ? kCpuRates : kGpuRates;
    double bytes = 0;
    shapes.clear();
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const Output& input = *node->inputs()[i].output();
      bytes += bytes_of(input);
      shapes.push_back(&input.shape);
    }
    for (uint32_t i = 0; i < node->output_count(); ++i) {
      bytes += bytes_of(node->output(i));
    }
    double seconds = bytes / rates.bytes;
    if (const auto* work = dynamic_cast<const TellsFlops*>(&node->primitive())) {
      seconds = std::max(seconds, work->flops(shapes, node->output(0).shape) / rates.flops);
    }
    costs.push_back(rates.launch + seconds);
  }
  return costs;
}

std::vector<double> host_copy_costs(const Tape& nodes) {
  constexpr double kBytes = 1e10; // in a second, through what is page-locked
  constexpr double kStart = 1e-5; // seconds
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<double> costs;
  if (!has_separate_memories()) {
    return costs;
  }
  costs.reserve(nodes.size());
  for (Node* node : nodes) {
    const bool can_be =
        node->stream().device.type == Device::Type::gpu && node->output_count() == 1;
    costs.push_back(can_be ? 2 * (kStart + bytes_of(node->output(0)) / kBytes) : kNever);
  }
  return costs;
}

} // namespace narrows
