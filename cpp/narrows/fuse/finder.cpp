#include "narrows/fuse/groups.h"
#include "narrows/fuse/members.h"
#include "narrows/fuse/memory_rule.h"
#include "narrows/fuse/shape_fit.h"
#include "narrows/record/trace.h"

namespace narrows {
namespace {

using Kind = FusionRule::Kind;

constexpr uint32_t kMixed = UINT32_MAX - 1; // read by nodes of several groups, or of none

} // namespace

// Goes over the tape from its back: what reads a node comes before it, so that a node whose
// readers are all in one group can join that group when it is met.
//
// While a group grows it may break the memory rule, as what is read now may join later; members
// that joined after it held for the last time are let go in the end. If these are many, the tape is
// gone over once more, and they lead groups of their own.
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
  static constexpr size_t kFewLetGo = 16; // one of so many nodes

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

  void visit(uint32_t position) {
    Node& node = *tape_[position];
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      Output& input = *node.inputs()[i].output();
      if (input.value == UINT32_MAX) {
        input.value = position; // its last reader's
      }
    }
    const FusionRule rule = node.primitive().fusion();
    const FusionSlot& slot = slots_[position];
    // A node that keeps its inputs needs their values.
    const bool fusible = !slot.barred && rule.kind != Kind::none && !families_.has(node);
    if (fusible && !slot.leads && slot.offered < kMixed && join(slot.offered, position, rule)) {
      return;
    }
    if (!fusible || !found_group(position, rule)) {
      for (uint32_t i = 0; i < node.input_count(); ++i) {
        offer(node.inputs()[i], kMixed, {}, 0);
      }
    }
  }

  void offer(const array& input, uint32_t group, const AxisMap& map, uint32_t cover) {
    if (input.node()->status() != Status::lazy) {
      return;
    }
    FusionSlot& slot = slots_[input.node()->pending];
    if (slot.offered == UINT32_MAX) {
      slot.offered = group;
      slot.map = map;
    } else if (slot.offered != group || !(slot.map == map)) {
      slot.offered = kMixed;
    }
    slot.read_along |= static_cast<uint8_t>(cover);
  }

  // Notes what a member reads, and offers the group to it. Returns the bytes that stay for longer
  // than without fusion.
  int64_t add_inputs(uint32_t id, Node& node, const FusionRule& rule, const AxisMap& map) {
    FusionGroup& group = groups_[id];
    const bool reduces = rule.kind == Kind::reduce;
    const uint32_t cover = map.cover();
    int64_t extended = 0;
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      const array& input = node.inputs()[i];
      const AxisMap seen =
          reduces ? map_of_reduced(group.space, group.row_dims, *rule.axes, map, input.shape())
                  : map_of_input(rule, map, input.shape());
      const uint32_t seen_cover = seen.cover();
      extended += memory_rule_.add_edge(group, *input.output(), seen_cover);
      offer(input, id, seen, reduces ? seen_cover : cover);
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

  // Whether an input may be the second of the node's group: nobody else may read that one.
  static bool may_get_member(Node& node) {
    const auto inputs = std::span<array>(node.inputs(), node.input_count());
    return std::any_of(inputs.begin(), inputs.end(), [&](const array& input) {
      const auto is_same = [&](const array& other) { return other.same_as(input); };
      const uint32_t uses = input.output()->uses;
      return uses <= inputs.size() &&
             (uses == 1 || uses == std::count_if(inputs.begin(), inputs.end(), is_same)) &&
             may_join(input);
    });
  }

  // Makes the node the root of a new group if that may get members.
  bool found_group(uint32_t position, const FusionRule& rule) {
    Node& node = *tape_[position];
    const bool reduces = rule.kind == Kind::reduce;
    if (!reduces && !is_computed(rule.kind)) {
      return false;
    }
    if (!may_get_member(node) || limits_of(node.stream()).instructions < 2 ||
        node.input_count() > limits_->operands) {
      return false;
    }
    const Output& output = node.output(0);
    const Shape& space = reduces ? node.inputs()[0].shape() : output.shape;
    if (space.ndim() > kMostFusedDims || element_count(space) == 0) {
      return false;
    }
    FusionGroup group;
    group.root = group.first = position;
    group.limits = limits_;
    group.memory = &backend_->memory();
    group.space = space;
    FusionSlot& slot = slots_[position];
    if (reduces) {
      slot.map = map_of_result(space, *rule.axes, space.size() == output.shape.size());
      const uint32_t reduced = cover_of(space) & ~slot.map.cover();
      group.row_dims = reduced ? __builtin_ctz(reduced) : 0;
      if (!reduced || slot.map.cover() >> group.row_dims) {
        return false;
      }
    } else {
      slot.map = identity_map(space);
    }
    memory_rule_.begin(group, node, reduces);
    slot.group = static_cast<uint32_t>(groups_.size());
    groups_.push_back(std::move(group));
    add_inputs(slot.group, node, rule, slot.map);
    keep(groups_.back());
    return true;
  }

  bool join(uint32_t id, uint32_t position, const FusionRule& rule) {
    Node& node = *tape_[position];
    FusionGroup& group = groups_[id];
    FusionSlot& slot = slots_[position];
    if (!may_vanish(node) || node.stream() != tape_[group.root]->stream() ||
        !(is_generated(rule.kind) || has_room(group, node))) {
      return false;
    }
    ShapeFit fit;
    if (!fits(group, slot.map.cover(), slot.read_along, node, rule, fit) ||
        (fit.spreads && group.instructions() + 2 > group.limits->instructions)) {
      return false;
    }
    group.row_dims = fit.row_dims;
    for (int64_t n : fit.added) {
      group.space.push_back(n);
    }
    const FusionGroup::External was = MemoryRule::take_out(group, node.output(0));
    const int64_t extended = add_inputs(id, node, rule, slot.map);
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

  // Whether the group's program can get this node's instruction and its inputs.
  static bool has_room(const FusionGroup& group, const Node& node) {
    return group.instructions() < group.limits->instructions &&
           group.externals.size() + node.input_count() <= group.limits->operands;
  }

  static void keep(FusionGroup& group) {
    group.kept_first = group.first;
    group.kept_count = group.count;
    group.kept_row_dims = group.row_dims;
    group.kept_dims = group.space.size();
  }

  // Whether a member that joined after the group held the memory rule for the last time stays: a
  // generated value that was sure to join.
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

  // Back to where the group kept the memory rule, then with the members that stay.
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
    group.externals.clear();
    for (uint32_t m = group.first; m != UINT32_MAX; m = slots_[m].next) {
      Node& node = *tape_[m];
      for (uint32_t i = 0; i < node.input_count(); ++i) {
        const array& input = node.inputs()[i];
        const bool inside = input.node()->status() == Status::lazy &&
                            slots_[input.node()->pending].group == slots_[m].group;
        if (!inside) {
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
