// The memory rule: at no step may a plan hold more with fusion than it would without.
#pragma once

#include <unordered_map>
#include <vector>

#include "narrows/fuse/groups.h"
#include "narrows/fuse/members.h"

namespace narrows {

// In a fused step a member runs at the root's place. What it reads may be kept for longer. Its
// result takes no memory, or, if it is stored, takes it from the root on. At no step may the plan
// hold more than it would hold there without fusion. The root is an exception: it may hold as much
// as the plan held without fusion anywhere in the run of members that ends with the root, if
// nothing else was allocated in between.
//   gap_slack  a lower bound of what fusion saves in any gap between members; never negative
//   best       the most that the group held, without fusion, at a step of its last run, less the
//              bytes that fusion keeps for longer; at least what the step allocates
class MemoryRule {
 public:
  MemoryRule(const Tape& tape, const std::vector<FusionSlot>& slots);

  // A group that has only its root.
  void begin(FusionGroup& group, Node& root, bool reduces) const;

  // Adds an edge from a member to an array, which it reads along `cover`. Returns the bytes that
  // are kept for longer than without fusion because of it.
  int64_t add_edge(FusionGroup& group, Output& output, uint32_t cover) {
    if (is_literal(output)) {
      ++group.literals;
      return 0;
    }
    FusionGroup::External* external = find(group, output);
    if (external) {
      ++external->edges;
      external->mixed |= external->cover != cover;
      return 0;
    }
    const int64_t extended = extended_bytes(group, output);
    group.externals.push_back({&output, extended, 1, static_cast<uint8_t>(cover), false});
    return extended;
  }

  static FusionGroup::External& external_of(FusionGroup& group, Output& output) {
    FusionGroup::External* external = find(group, output);
    if (!external) {
      group.externals.push_back({&output, 0, 0, 0, false});
      external = &group.externals.back();
    }
    return *external;
  }

  // Removes an array from those that the group reads, because it becomes a member's result.
  static FusionGroup::External take_out(FusionGroup& group, const Output& output) {
    FusionGroup::External* external = find(group, output);
    const FusionGroup::External was = *external;
    *external = group.externals.back();
    group.externals.pop_back();
    return was;
  }

  // Accounts for a new member whose edges have been added: they keep `extended` bytes for longer.
  // Its result was an array that the group read, `was`.
  void add_member(
      FusionGroup& group,
      Node& node,
      uint32_t position,
      const FusionRule& rule,
      const FusionGroup::External& was,
      int64_t extended) const;

  // Whether the group, in which the rule holds, may store the node's result once all nodes that can
  // have joined. If other steps stand between the node and the group, the bytes that are then kept
  // for longer must not exceed the result, which is allocated later than without fusion.
  bool may_store(FusionGroup& group, Node& node);
  // The same for the group that `root` would make.
  bool may_be_stored(Node& node, uint32_t root) {
    founded_.root = founded_.first = founded_.kept_first = root;
    return may_store(founded_, node);
  }

  bool holds(const FusionGroup& group) const {
    return group.gap_slack >= 0 && group.best >= 0 &&
           (group.output_bytes <= group.best ||
            group.output_bytes - surely_overwritten(group) <= group.best);
  }

  // A generated value that only the group reads is sure to join it.
  bool is_joining(const FusionGroup& group, const Output& output) const;

 private:
  static FusionGroup::External* find(FusionGroup& group, const Output& output) {
    for (FusionGroup::External& known : group.externals) {
      if (known.output == &output) {
        return &known;
      }
    }
    return nullptr;
  }
  int64_t extended_bytes(const FusionGroup& group, Output& output);
  int64_t kept_bytes(Output& output);
  int64_t known_bytes(const Output& output) const;
  bool is_adjacent(uint32_t position, uint32_t first) const;
  int64_t surely_overwritten(const FusionGroup& group) const;
  bool may_vanish_into(Node& node, const Output& output) const;
  bool dies_behind(bool last_is_member, const Output& input, uint32_t edges) const;
  bool is_sure_to_end(const FusionGroup& group, const FusionGroup::External& external) const;

  const Tape& tape_;
  const std::vector<FusionSlot>& slots_;
  bool one_stream_;                                     // runs all nodes
  FusionGroup founded_;                                 // scratch
  std::vector<Node*> open_views_;                       // scratch
  std::unordered_map<const Node*, int64_t> seen_bytes_; // of nodes that show their inputs
};

} // namespace narrows
