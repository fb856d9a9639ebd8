#include "narrows/order/known_order.h"

#include <algorithm>
#include <utility>

#include "narrows/order/waves.h"

namespace narrows {
namespace {

KnownOrder::Bytes bytes_of(const Step& step) {
  return {step.workspace, step.live_bytes, step.peak_bytes};
}

} // namespace

KnownOrder::KnownOrder(const OrderOptions& options, bool fuse, Order nodes, const Plan& plan)
    : options(options),
      fuse(fuse),
      concurrency(concurrency_of(plan)),
      nodes(std::move(nodes)),
      streams(plan.streams) {
  steps.reserve(plan.steps.size());
  for (const Step& step : plan.steps) {
    steps.push_back(bytes_of(step));
  }
}

bool KnownOrder::has_planned(const Plan& plan) const {
  return plan.streams == streams && concurrency_of(plan) == concurrency &&
         std::equal(
             plan.steps.begin(),
             plan.steps.end(),
             steps.begin(),
             steps.end(),
             [](const Step& step, const Bytes& bytes) { return bytes_of(step) == bytes; });
}

bool reorder(const Order& order, Tape& tape) {
  if (order.size() != tape.size()) {
    return false;
  }
  for (uint32_t place = 0; place < order.size(); ++place) {
    tape[order[place]]->pending = place;
  }
  for (Node* node : tape) {
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const Node* input = node->inputs()[i].node();
      if (input->status() == Status::lazy && input->pending >= node->pending) {
        return false;
      }
    }
  }
  Tape reordered(tape.size());
  for (Node* node : tape) {
    reordered[node->pending] = node;
  }
  tape = std::move(reordered);
  return true;
}

} // namespace narrows
