#include "narrows/fuse/memory_rule.h"

#include <algorithm>

#include "narrows/fuse/members.h"

namespace narrows {
namespace {

using Kind = FusionRule::Kind;

// Whether the node, by itself, could overwrite an input that dies at it.
bool may_overwrite(Node& node, uint32_t position) {
  const Output& output = node.output(0);
  for (uint32_t i = 0; i < node.input_count(); ++i) {
    const Output& input = *node.inputs()[i].output();
    if (input.value == position && !is_held(input) && input.shape == output.shape &&
        size_of(input.dtype) == size_of(output.dtype)) {
      return true;
    }
  }
  return false;
}

// Whether the value may be a view of what its node reads.
bool is_view(const Output& output) {
  Node& node = *output.node;
  return !is_held(output) && node.status() == Status::lazy && node.input_count() > 0 &&
         node.primitive().fusion().shows_input;
}

int64_t own_bytes(const Output& output) {
  Node& node = *output.node;
  if (is_held(output)) {
    return 0;
  }
  if (node.status() == Status::lazy) {
    return is_seen_through(node.primitive().fusion().kind) ? 0 : bytes_of(output);
  }
  const Buffer* buffer = node.status() == Status::ready ? output.buffer.get() : nullptr;
  return buffer && buffer->source ? buffer->bytes : 0;
}

} // namespace

MemoryRule::MemoryRule(const Tape& tape, const std::vector<FusionSlot>& slots)
    : tape_(tape),
      slots_(slots),
      one_stream_(std::all_of(tape.begin(), tape.end(), [&](const auto& node) {
        return node->stream() == tape[0]->stream();
      })) {
}

void MemoryRule::begin(FusionGroup& group, Node& root, bool reduces) const {
  group.output_bytes = bytes_of(root.output(0));
  group.best = reduces || !may_overwrite(root, group.root) ? group.output_bytes : 0;
}

int64_t MemoryRule::extended_bytes(const FusionGroup& group, Output& output) {
  if (output.value >= group.root || is_joining(group, output)) {
    return 0;
  }
  return kept_bytes(output);
}

// An upper bound for the bytes that stay as long as a value does: its own, and those of what it may
// be a view of. Views of views form a graph; every node of it is looked at once.
int64_t MemoryRule::kept_bytes(Output& output) {
  if (!is_view(output)) {
    return own_bytes(output);
  }
  open_views_.assign(1, output.node);
  while (!open_views_.empty()) {
    Node& node = *open_views_.back();
    if (seen_bytes_.count(&node) > 0) {
      open_views_.pop_back();
      continue;
    }
    int64_t most = 0;
    bool known = true;
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      const Output& input = *node.inputs()[i].output();
      if (is_view(input) && seen_bytes_.count(input.node) == 0) {
        open_views_.push_back(input.node);
        known = false;
      } else {
        most = std::max(most, known_bytes(input));
      }
    }
    if (known) {
      seen_bytes_[&node] = most;
      open_views_.pop_back();
    }
  }
  return known_bytes(output);
}

int64_t MemoryRule::known_bytes(const Output& output) const {
  const int64_t own = own_bytes(output);
  return is_view(output) ? std::max(own, seen_bytes_.at(output.node)) : own;
}

bool MemoryRule::is_joining(const FusionGroup& group, const Output& output) const {
  Node& node = *output.node;
  if (output.uses != 1 || node.status() != Status::lazy || is_held(output) ||
      !is_generated(node.primitive().fusion().kind)) {
    return false;
  }
  const FusionSlot& slot = slots_[node.pending];
  return !slot.barred && !slot.leads && node.stream() == tape_[group.root]->stream();
}

void MemoryRule::add_member(
    FusionGroup& group,
    Node& node,
    uint32_t position,
    const FusionRule& rule,
    const FusionGroup::External& was,
    int64_t extended) const {
  const Output& output = node.output(0);
  int64_t saved = 0;
  if (is_seen_through(rule.kind)) {
    // What it is a view of stays as long as before.
    FusionGroup::External* shown = find(group, *node.inputs()[0].output());
    if (shown && shown->edges == 1) {
      shown->extended = was.extended;
    }
  } else {
    const bool counted =
        output.value >= group.root || was.extended > 0 || !is_joining(group, output);
    saved = (counted ? bytes_of(output) : 0) - extended;
    group.gap_slack = group.gap_slack == INT64_MAX ? INT64_MAX : group.gap_slack + saved;
    group.best += saved;
  }
  if (is_adjacent(position, group.first)) {
    if (group.in_run && !is_seen_through(rule.kind)) {
      const bool donates = is_computed(rule.kind) && may_overwrite(node, position);
      group.best = std::max(group.best, donates ? 0 : bytes_of(output));
    }
  } else {
    group.in_run = false;
    group.gap_slack = std::min(group.gap_slack, saved);
  }
}

// Whether no step between two positions allocates memory.
bool MemoryRule::is_adjacent(uint32_t position, uint32_t first) const {
  for (uint32_t i = position + 1; i < first; ++i) {
    if (!is_seen_through(tape_[i]->primitive().fusion().kind)) {
      return false;
    }
  }
  return true;
}

// Whether an array that only members read surely dies with the group's step, and fills its buffer.
bool MemoryRule::is_sure_to_end(
    const FusionGroup& group, const FusionGroup::External& external) const {
  const Output& output = *external.output;
  if (is_held(output) || is_joining(group, output)) {
    return false;
  }
  Node& node = *output.node;
  if (node.status() == Status::ready) {
    const Buffer* buffer = output.buffer.get();
    return buffer && buffer->source && buffer->bytes == bytes_of(output) &&
           buffer->refs.load(std::memory_order_acquire) == 1 && output.layout.dense &&
           output.layout.offset == 0;
  }
  return node.status() == Status::lazy && node.stream() == tape_[group.root]->stream() &&
         !node.primitive().fusion().shows_input;
}

// Whether an array dies at the group's step, which reads it `edges` times. If its last reader is a
// member, all others have run by then on one stream; but a view keeps what it shows.
bool MemoryRule::dies_behind(bool last_is_member, const Output& input, uint32_t edges) const {
  return input.uses == edges ||
         (last_is_member && one_stream_ && input.node->status() == Status::lazy &&
          !slots_[input.node->pending].viewed);
}

// The bytes of results that surely take the buffers of arrays that die with the group's step. Such
// arrays are read in the same places as these results are written, as FusedStep requires.
int64_t MemoryRule::surely_overwritten(const FusionGroup& group) const {
  int64_t bytes = 0;
  uint64_t taken = 0; // results, as bits
  const auto count = static_cast<uint32_t>(group.stored.size());
  for (const FusionGroup::External& external : group.externals) {
    const Output& input = *external.output;
    const bool last_is_member =
        input.value <= group.root && slots_[input.value].group == slots_[group.root].group;
    if (external.mixed || !dies_behind(last_is_member, input, external.edges)) {
      continue;
    }
    for (uint32_t i = 0; i <= count; ++i) {
      const uint32_t position = i == count ? group.root : group.stored[i].position;
      const Output& output = tape_[position]->output(0);
      if (!(taken >> i & 1) && external.cover == slots_[position].map.cover &&
          input.shape == output.shape && size_of(input.dtype) == size_of(output.dtype) &&
          tape_[position]->primitive().fusion().kind != Kind::reduce &&
          is_sure_to_end(group, external)) {
        taken |= uint64_t{1} << i;
        bytes += bytes_of(output);
        break;
      }
    }
  }
  return bytes;
}

// Whether a result is sure to be offered to the group of the node, its only reader.
bool MemoryRule::may_vanish_into(Node& node, const Output& output) const {
  Node& made_by = *output.node;
  if (output.uses != 1 || made_by.status() != Status::lazy || made_by.output_count() != 1 ||
      is_held(output) || !(made_by.stream() == node.stream())) {
    return false;
  }
  const FusionSlot& slot = slots_[made_by.pending];
  const Kind kind = made_by.primitive().fusion().kind;
  return !slot.barred && !slot.leads && kind != Kind::none;
}

bool MemoryRule::may_store(FusionGroup& group, Node& node) {
  constexpr size_t kMostLookedAt = 16;
  Node* open[kMostLookedAt] = {&node};
  const Output& result = node.output(0);
  const int64_t own = bytes_of(result);
  // Without a gap between the two, only the rule for the root's step counts.
  const int64_t most = is_adjacent(node.pending, group.first) ? INT64_MAX : own;
  int64_t longer = 0;
  int64_t overwritten = 0;
  for (size_t at = 0, count = 1; at < count; ++at) {
    Node& reader = *open[at];
    for (uint32_t i = 0; i < reader.input_count(); ++i) {
      Output& input = *reader.inputs()[i].output();
      if ((input.value != UINT32_MAX && input.value >= group.root) || find(group, input)) {
        continue; // it stays as long anyway
      }
      if (may_vanish_into(node, input)) {
        if (count == kMostLookedAt) {
          return false;
        }
        open[count++] = input.node;
        continue;
      }
      const int64_t bytes = kept_bytes(input);
      longer += bytes;
      if (longer > most) {
        return false;
      }
      const bool may_overwrite = bytes == own && input.shape == result.shape;
      overwritten +=
          may_overwrite && dies_behind(input.value == reader.pending, input, 1) ? bytes : 0;
    }
  }
  if (longer == 0) {
    return true;
  }
  return group.first == group.kept_first &&
         (longer <= overwritten ||
          group.output_bytes - surely_overwritten(group) + longer - overwritten <= group.best);
}

} // namespace narrows
