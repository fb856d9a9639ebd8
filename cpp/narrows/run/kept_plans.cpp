#include "narrows/run/kept_plans.h"

#include <algorithm>

#include "narrows/fuse/fused_step.h"
#include "narrows/plan/run_event.h"
#include "narrows/record/array.h"
#include "narrows/record/fields.h"
#include "narrows/runtime/tf32.h"

namespace narrows {
namespace {

constexpr size_t kMostEntries = 8;
constexpr size_t kMostSeen = 32;
// For smaller graphs it is not worth the while.
constexpr size_t kLeastNodes = 8;

std::array<const Backend*, 2> backends() {
  constexpr Device kGpu{Device::Type::gpu, 0};
  return {&backend_for({Device::Type::cpu, 0}), is_available(kGpu) ? &backend_for(kGpu) : nullptr};
}

bool are_records(const Tape& tape) {
  return std::all_of(tape.begin(), tape.end(), [](const Node* node) {
    return dynamic_cast<const AnyRecord*>(&node->primitive()) != nullptr;
  });
}

} // namespace

bool KeptPlans::find(
    const Tape& tape,
    std::span<const array> outputs,
    const OrderOptions& options,
    bool fuse,
    Plan& plan) {
  LiveFamilies families;
  families.find();
  is_worth_keeping_ = false;
  if (tape.size() < kLeastNodes || tape.size() > kLargestSpare || options.budget > 0 ||
      !families.empty()) {
    return false;
  }
  settings_ = {options, fuse, tf32_enabled(), default_device(), backends()};
  describe(tape, description_);
  const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& known) {
    return known.description.hash == description_.hash && known.settings == settings_ &&
           known.description.words == description_.words && matches(known, tape);
  });
  if (entry == entries_.end()) {
    is_worth_keeping_ = came_before(description_.hash);
    if (is_worth_keeping_) {
      tape_ = tape;
    }
    return false;
  }
  bind(*entry, tape, description_, outputs, plan);
  std::rotate(entries_.begin(), entry, entry + 1);
  return true;
}

// Whether a graph like it was the latest but a few. Notes that it came.
bool KeptPlans::came_before(uint64_t hash) {
  const auto found = std::find(seen_.begin(), seen_.end(), hash);
  if (found != seen_.end()) {
    seen_.erase(found);
    return true;
  }
  seen_.push_front(hash);
  seen_.resize(std::min(seen_.size(), kMostSeen));
  return false;
}

bool KeptPlans::matches(const Entry& entry, const Tape& tape) {
  return std::equal(
      tape.begin(),
      tape.end(),
      entry.primitives.begin(),
      entry.primitives.end(),
      [](const Node* node, const std::shared_ptr<const Primitive>& primitive) {
        return &node->primitive() == primitive.get() || primitive->equals(node->primitive());
      });
}

void KeptPlans::bind(
    const Entry& entry,
    const Tape& tape,
    const TapeDescription& description,
    std::span<const array> outputs,
    Plan& plan) {
  plan = entry.plan;
  for (size_t i = 0; i < plan.values.size(); ++i) {
    const Origin& from = entry.values[i];
    plan.values[i].output =
        from.node == kNone ? description.inputs[from.index] : &tape[from.node]->output(from.index);
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (entry.step_nodes[i] != kNone) {
      Step& step = plan.steps[i];
      step.node = tape[entry.step_nodes[i]];
      step.primitive = &step.node->primitive();
      if (step.fused) {
        step.primitive = step.fused;
      }
    }
  }
  for (const Output* input : description.inputs) {
    await(*input->node, plan.awaited);
  }
  for (size_t i = 0; i < plan.input_count; ++i) {
    if (plan.values[i].awaited) {
      await(plan.values[i].output->node->event, plan.awaited);
    }
  }
  for (const array& output : outputs) {
    await(*output.node(), plan.awaited);
  }
}

void KeptPlans::keep(const Plan& plan) {
  if (!is_worth_keeping_ || !are_records(tape_)) {
    return;
  }
  is_worth_keeping_ = false;
  Entry entry{settings_, std::move(description_), {}, plan, {}, {}};
  for (size_t at = 0; at < tape_.size(); ++at) {
    tape_[at]->pending = static_cast<uint32_t>(at);
    entry.primitives.push_back(tape_[at]->primitive_ref());
  }
  const auto place_of = [](const Node* node) { return node ? node->pending : kNone; };
  for (Step& step : entry.plan.steps) {
    entry.step_nodes.push_back(place_of(step.node));
    step.node = nullptr;
    step.primitive = entry.step_nodes.back() == kNone ? step.primitive : nullptr;
  }
  for (size_t i = 0; i < entry.description.inputs.size(); ++i) {
    entry.description.inputs[i]->value = static_cast<uint32_t>(i);
  }
  for (PlannedValue& value : entry.plan.values) {
    const Output& output = *value.output;
    const bool is_input = output.node->status() != Status::lazy;
    entry.values.push_back(
        {is_input ? kNone : output.node->pending, is_input ? output.value : output.index});
    value.output = nullptr;
  }
  entry.plan.awaited.clear();
  entry.description.inputs.clear();
  entries_.push_front(std::move(entry));
  size_t nodes = 0;
  const auto too_many = [&](const Entry& known) {
    nodes += known.primitives.size();
    return nodes > kLargestSpare;
  };
  entries_.erase(std::find_if(entries_.begin(), entries_.end(), too_many), entries_.end());
  entries_.resize(std::min(entries_.size(), kMostEntries));
}

} // namespace narrows
