#include "narrows/fuse/groups.h"
#include "narrows/fuse/members.h"
#include "narrows/fuse/memory_rule.h"
#include "narrows/fuse/shape_fit.h"
#include "narrows/record/trace.h"

namespace narrows {
namespace {

using Kind = FusionRule::Kind;

constexpr uint32_t kMixed = UINT32_MAX - 1; // offered to no group
constexpr uint32_t kMostOutputs = 64;       // the memory rule has a bit for each

} // namespace

// Goes over the tape from its back. The readers of a node are met before the node itself, so a node
// whose readers are all in one group can join that group when it is met. A node whose value
// somebody holds, or that others read, can join, too, if all its other readers stand behind the
// group's root: the group's step then stores its result.
//
// A group may break the memory rule while it grows, because what it reads may still join it. In the
// end a group is cut back to the last state in which the rule held. If groups lose many members so,
// the tape is gone over once more, and those members may only become roots.
class FusionFinder {
 public:
  FusionFinder(const Tape& tape, const std::vector<uint32_t>& barred, FusionGroups& found)
      : tape_(tape),
        barred_(barred),
        slots_(found.slots_),
        groups_(found.groups_),
        memory_rule_(tape, found.slots_) {
  }

  void run() {
    families_.find();
    for (uint32_t i = 0; i < tape_.size(); ++i) {
      tape_[i]->pending = i;
    }
    for (bool again = true; again;) {
      again = let_go_.empty();
      slots_.assign(tape_.size(), {});
      groups_.clear();
      find_viewed();
      for (uint32_t position : barred_) {
        slots_[position].barred = true;
      }
      for (uint32_t position : let_go_) {
        slots_[position].leads = true;
      }
      for (uint32_t i = static_cast<uint32_t>(tape_.size()); i-- > 0;) {
        prefetch_before(i);
        visit(i);
      }
      again &= find_let_go() > tape_.size() / kFewLetGo;
    }
    for (FusionGroup& group : groups_) {
      if (group.first != group.kept_first) {
        let_go(group);
      }
      if (group.count == 1) {
        slots_[group.root].group = UINT32_MAX;
      }
    }
  }

 private:
  static constexpr size_t kFewLetGo = 16; // `again` if more than one in so many nodes was let go

  // What a visit some steps later will look at.
  [[gnu::always_inline]] void prefetch_before(uint32_t position) const {
    constexpr uint32_t kSlots = 2;
    narrows::prefetch_before(tape_, position);
    if (tape_.size() > kPrefetchFrom && position >= kPrefetchNodes) {
      Node& node = *tape_[position - kSlots];
      for (uint32_t i = 0; i < std::min<uint32_t>(node.input_count(), 4); ++i) {
        __builtin_prefetch(slots_.data() + node.inputs()[i].node()->pending);
      }
      const uint32_t offered = slots_[position - kSlots].offered;
      if (offered < kMixed) {
        prefetch_bytes(&groups_[offered], sizeof(FusionGroup));
      }
    }
  }

  void find_viewed() {
    for (const auto& node : tape_) {
      if (node->input_count() > 0 && node->primitive().fusion().shows_input) {
        for (uint32_t i = 0; i < node->input_count(); ++i) {
          Node& input = *node->inputs()[i].node();
          if (input.status() == Status::lazy) {
            slots_[input.pending].viewed = true;
          }
        }
      }
    }
  }

  void visit(uint32_t position) {
    Node& node = *tape_[position];
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      Output& input = *node.inputs()[i].output();
      if (input.value == UINT32_MAX) {
        input.value = position; // the position of its last reader
      }
    }
    const FusionRule rule = node.primitive().fusion();
    const FusionSlot& slot = slots_[position];
    // Their values are needed.
    const bool fusible = !slot.barred && rule.kind != Kind::none && !families_.has(node);
    if (fusible && !slot.leads && slot.offered < kMixed && join(slot.offered, position, rule)) {
      return;
    }
    if (!fusible || !found_group(position, rule)) {
      for (uint32_t i = 0; i < node.input_count(); ++i) {
        offer(node.inputs()[i], kMixed, position, {}, 0);
      }
    }
  }

  // Offers a group, or none, to the input of a node at this position.
  void offer(
      const array& input, uint32_t group, uint32_t position, const AxisMap& map, uint32_t cover) {
    if (input.node()->status() != Status::lazy) {
      return;
    }
    FusionSlot& slot = slots_[input.node()->pending];
    if (slot.offered != group) {
      // All readers so far stand at `first_reader` or behind it.
      const bool all_behind = group < kMixed && slot.first_reader > groups_[group].root;
      slot.read_elsewhere = slot.offered != UINT32_MAX;
      slot.offered = all_behind ? group : kMixed;
      slot.map = map;
      slot.read_along = 0;
    } else if (!(slot.map == map)) {
      slot.offered = kMixed;
    }
    slot.read_along |= static_cast<uint8_t>(cover);
    slot.first_reader = position;
    ++slot.edges;
  }

  // Adds what a member reads to the group, and offers the group to the inputs. Returns the bytes
  // that are kept for longer than without fusion.
  int64_t add_inputs(
      uint32_t id, uint32_t position, Node& node, const FusionRule& rule, const AxisMap& map) {
    FusionGroup& group = groups_[id];
    int64_t extended = 0;
    if (rule.kind == Kind::reduce) {
      const array& input = node.inputs()[0];
      const AxisMap seen =
          map_of_reduced(group.space, group.row_dims, *rule.axes, map, input.shape());
      extended = memory_rule_.add_edge(group, *input.output(), seen.cover);
      offer(input, id, position, seen, seen.cover);
      return extended;
    }
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      const array& input = node.inputs()[i];
      const AxisMap seen = map_of_input(rule, map, input.shape());
      extended += memory_rule_.add_edge(group, *input.output(), seen.cover);
      offer(input, id, position, seen, map.cover);
    }
    return extended;
  }

  const ProgramLimits& limits_of(Stream stream) {
    if (!backend_ || stream_ != stream) {
      stream_ = stream;
      backend_ = &backend_for(stream.device);
      limits_ = &backend_->program_limits();
    }
    return *limits_;
  }

  // Whether one of the inputs could become the second member of the node's group: all its readers
  // are this node, or the others stand behind the node and the group stores the input.
  bool may_get_member(Node& node, uint32_t position) {
    const auto inputs = std::span<array>(node.inputs(), node.input_count());
    return std::any_of(inputs.begin(), inputs.end(), [&](const array& input) {
      if (input.node()->status() != Status::lazy) {
        return false;
      }
      const auto is_same = [&](const array& other) { return other.same_as(input); };
      const uint32_t met = slots_[input.node()->pending].edges;
      const uint32_t left = input.output()->uses - met;
      if (left > inputs.size() ||
          (left != 1 && left != std::count_if(inputs.begin(), inputs.end(), is_same))) {
        return false;
      }
      return (met == 0 && may_join(input)) || may_be_stored(input, node, position);
    });
  }

  // Whether the group of a root could store this input of the root as a result.
  bool may_be_stored(const array& input, Node& root, uint32_t position) {
    Node& node = *input.node();
    const FusionSlot& slot = slots_[node.pending];
    const Kind kind = node.primitive().fusion().kind;
    return limits_of(root.stream()).outputs > 1 && node.output_count() == 1 && !slot.barred &&
           !slot.leads && (is_computed(kind) || kind == Kind::reduce) &&
           node.stream() == root.stream() && !families_.has(node) &&
           memory_rule_.may_be_stored(node, position);
  }

  // Makes the node the root of a new group, if another node can join it.
  bool found_group(uint32_t position, const FusionRule& rule) {
    Node& node = *tape_[position];
    const bool reduces = rule.kind == Kind::reduce;
    if (!reduces && !is_computed(rule.kind)) {
      return false;
    }
    if (!may_get_member(node, position) || limits_of(node.stream()).instructions < 2 ||
        node.input_count() > limits_->operands) {
      return false;
    }
    const Output& output = node.output(0);
    const Shape& space = reduces ? node.inputs()[0].shape() : output.shape;
    if (space.ndim() > kMostFusedDims || element_count(space) == 0) {
      return false;
    }
    FusionSlot& slot = slots_[position];
    int row_dims = -1;
    if (reduces) {
      slot.map = map_of_result(space, *rule.axes, space.size() == output.shape.size());
      const uint32_t reduced = cover_of(space) & ~slot.map.cover;
      row_dims = reduced ? __builtin_ctz(reduced) : 0;
      if (!reduced || slot.map.cover >> row_dims ||
          !may_reduce(*limits_, element_count(space) / element_count(output.shape))) {
        return false;
      }
    } else {
      slot.map = identity_map(space);
    }
    slot.group = static_cast<uint32_t>(groups_.size());
    FusionGroup& group = groups_.emplace_back();
    group.root = group.first = position;
    group.limits = limits_;
    group.space = space;
    group.row_dims = row_dims;
    memory_rule_.begin(group, node, reduces);
    add_inputs(slot.group, position, node, rule, slot.map);
    keep(group);
    return true;
  }

  bool join(uint32_t id, uint32_t position, const FusionRule& rule) {
    Node& node = *tape_[position];
    FusionGroup& group = groups_[id];
    FusionSlot& slot = slots_[position];
    const bool stores = slot.read_elsewhere || is_held(node.output(0));
    if (node.output_count() != 1 || node.stream() != tape_[group.root]->stream() ||
        !(is_generated(rule.kind) || has_room(group, node)) ||
        (stores && !may_store(group, node, rule))) {
      return false;
    }
    ShapeFit fit;
    if (!fits(group, slot.map.cover, slot.read_along, node, rule, fit) ||
        (fit.spreads && group.instructions() + 2 > group.limits->instructions)) {
      return false;
    }
    group.row_dims = fit.row_dims;
    for (int64_t n : fit.added) {
      group.space.push_back(n);
    }
    const FusionGroup::External was = MemoryRule::take_out(group, node.output(0));
    if (stores) {
      group.stored.push_back({position, was.edges});
      group.output_bytes += bytes_of(node.output(0));
    }
    const int64_t extended = add_inputs(id, position, node, rule, slot.map);
    memory_rule_.add_member(group, node, position, rule, was, extended);
    slot.group = id;
    slot.next = group.first;
    group.first = position;
    ++group.count;
    group.spreads += fit.spreads;
    if (memory_rule_.holds(group)) {
      keep(group);
    }
    return true;
  }

  // Whether the group's program has room for this node's instruction and its inputs.
  static bool has_room(const FusionGroup& group, const Node& node) {
    return group.instructions() < group.limits->instructions &&
           group.externals.size() + group.literals + node.input_count() <= group.limits->operands;
  }

  bool may_store(FusionGroup& group, Node& node, const FusionRule& rule) {
    return group.stored.size() + 1 < std::min(group.limits->outputs, kMostOutputs) &&
           (is_computed(rule.kind) || rule.kind == Kind::reduce) &&
           memory_rule_.may_store(group, node);
  }

  static void keep(FusionGroup& group) {
    group.kept_first = group.first;
    group.kept_count = group.count;
    group.kept_row_dims = group.row_dims;
    group.kept_dims = group.space.size();
    group.kept_stored = group.stored.size();
  }

  // Whether a member stays that joined after the memory rule held for the last time. Generated
  // values stay if they were sure to join.
  bool stays(const FusionGroup& group, uint32_t member) const {
    const Output& output = tape_[member]->output(0);
    return memory_rule_.is_joining(group, output) && output.value >= group.kept_first;
  }

  // Adds the members that groups let go to let_go_. Returns their number.
  size_t find_let_go() {
    for (const FusionGroup& group : groups_) {
      for (uint32_t m = group.first; m != group.kept_first; m = slots_[m].next) {
        if (!stays(group, m)) {
          let_go_.push_back(m);
        }
      }
    }
    return let_go_.size();
  }

  // Cuts the group back to the state in which it kept the memory rule, and adds the members that
  // stay.
  void let_go(FusionGroup& group) {
    staying_.clear();
    for (uint32_t m = group.first; m != group.kept_first; m = slots_[m].next) {
      if (stays(group, m)) {
        staying_.push_back(m);
      } else {
        slots_[m].group = UINT32_MAX;
      }
    }
    group.first = group.kept_first;
    group.count = group.kept_count + static_cast<uint32_t>(staying_.size());
    for (; !staying_.empty(); staying_.pop_back()) {
      slots_[staying_.back()].next = group.first;
      group.first = staying_.back();
    }
    group.row_dims = group.kept_row_dims;
    group.space.resize(group.kept_dims);
    group.stored.resize(group.kept_stored);
    group.externals.clear();
    for (uint32_t m = group.first; m != UINT32_MAX; m = slots_[m].next) {
      Node& node = *tape_[m];
      for (uint32_t i = 0; i < node.input_count(); ++i) {
        const array& input = node.inputs()[i];
        const bool inside = input.node()->status() == Status::lazy &&
                            slots_[input.node()->pending].group == slots_[m].group;
        if (!inside && !is_literal(*input.output())) {
          ++MemoryRule::external_of(group, *input.output()).edges;
        }
      }
    }
  }

  const Tape& tape_;
  const std::vector<uint32_t>& barred_;
  LiveFamilies families_;
  std::vector<FusionSlot>& slots_;
  std::vector<FusionGroup>& groups_;
  MemoryRule memory_rule_;
  std::vector<uint32_t> let_go_;  // positions
  std::vector<uint32_t> staying_; // scratch
  Stream stream_;
  Backend* backend_ = nullptr; // of the latest stream
  const ProgramLimits* limits_ = nullptr;
};

void FusionGroups::find(const Tape& tape, const std::vector<uint32_t>& barred) {
  FusionFinder(tape, barred, *this).run();
}

} // namespace narrows
