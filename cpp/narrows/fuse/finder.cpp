#include <unordered_map>

#include "narrows/fuse/rule.h"
#include "narrows/record/trace.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

using Kind = FusionRule::Kind;

// Of a group. What it reads may come to more than registers should hold.
constexpr uint32_t kMostMembers = 64;
constexpr size_t kMostExternals = 24;

constexpr uint32_t kMixed = UINT32_MAX - 1; // read by nodes of several groups, or of none

bool is_computed(Kind kind) {
  return kind == Kind::elementwise || kind == Kind::cast || kind == Kind::select;
}
bool is_generated(Kind kind) {
  return kind == Kind::constant || kind == Kind::sequence;
}
bool is_seen_through(Kind kind) {
  return kind == Kind::broadcast || kind == Kind::expand_dims || kind == Kind::squeeze;
}

bool is_held(const Output& output) {
  return output.refs.load(std::memory_order_acquire) > output.uses;
}

int64_t bytes_of(const Output& output) {
  return rounded_bytes(element_count(output.shape) * size_of(output.dtype));
}

// Whether the graph can do without the node's value: nobody but nodes of the plan may ask for it.
bool may_vanish(Node& node) {
  return node.output_count() == 1 && !is_held(node.output(0));
}

// Bits of the dimensions of a space that have more than one element.
uint32_t cover_of(const Shape& space) {
  uint32_t bits = 0;
  for (size_t d = 0; d < space.size(); ++d) {
    bits |= static_cast<uint32_t>(space[d] != 1) << d;
  }
  return bits;
}

uint32_t below(int dims) {
  return (1u << dims) - 1;
}

AxisMap identity_map(const Shape& shape) {
  AxisMap map;
  map.ndim = static_cast<uint8_t>(shape.size());
  for (int d = 0; d < shape.ndim(); ++d) {
    map.to[d] = shape[d] == 1 ? AxisMap::kNowhere : static_cast<int8_t>(d);
  }
  return map;
}

} // namespace

bool FusionGroup::takes_in(const External& external) const {
  const Output& output = *external.output;
  const Buffer* buffer = output.node->status() == Status::ready ? output.buffer.get() : nullptr;
  return buffer && output.uses == external.edges && !is_held(output) && buffer->source == memory &&
         buffer->memory && element_count(output.shape) == 1 &&
         buffer->refs.load(std::memory_order_acquire) == 1;
}

// Goes over the tape from its back: what reads a node comes before it, so that a node whose
// readers are all in one group can join that group when it is met.
//
// The memory rule. Fused, a member runs at the root's place: what it reads may stay for longer,
// its result takes no memory. At no step may the plan hold more than without fusion did at that
// step; but at the root it may hold as much as that did anywhere in the run of members that ends
// with the root, where nothing else was allocated in between.
//   gap_slack  what fusion saves, at least, in any gap between members; never negative
//   best       the most that the group held at a step of its last run without fusion, less what
//              fusion keeps for longer; at least what the root allocates
// While a group grows it may break the rule, as what is read now may join later; members that
// joined after it held for the last time are let go in the end. If these are many, the tape is gone
// over once more, and they lead groups of their own.
class FusionFinder {
 public:
  FusionFinder(const Tape& tape, const std::vector<uint32_t>& barred, FusionGroups& found)
      : tape_(tape), barred_(barred), slots_(found.slots_), groups_(found.groups_) {
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
  using Slot = FusionGroups::Slot;
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
    return is_joining(group, output) && output.value >= group.kept_first;
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
          ++external_of(group, *input.output()).edges;
        }
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
    const Slot& slot = slots_[position];
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
    Slot& slot = slots_[input.node()->pending];
    if (slot.offered == UINT32_MAX) {
      slot.offered = group;
      slot.map = map;
    } else if (slot.offered != group || !(slot.map == map)) {
      slot.offered = kMixed;
    }
    slot.read_along |= static_cast<uint8_t>(cover);
  }

  bool runs_programs(Stream stream) {
    if (!backend_ || stream_ != stream) {
      stream_ = stream;
      backend_ = &backend_for(stream.device);
    }
    return backend_->runs_programs();
  }

  bool may_join(const array& input) const {
    return input.node()->status() == Status::lazy && may_vanish(*input.node()) &&
           input.node()->primitive().fusion().kind != Kind::none;
  }

  // Whether an input may be the second of the node's group: nobody else may read that one.
  bool may_get_member(Node& node) const {
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
    if (!may_get_member(node) || !runs_programs(node.stream())) {
      return false;
    }
    const Output& output = node.output(0);
    const Shape& space = reduces ? node.inputs()[0].shape() : output.shape;
    if (space.ndim() > kMostFusedDims || element_count(space) == 0) {
      return false;
    }
    FusionGroup group;
    group.root = group.first = position;
    group.memory = &backend_->memory();
    group.space = space;
    group.root_bytes = bytes_of(output);
    group.best = reduces || !may_overwrite(node, position) ? group.root_bytes : 0;
    Slot& slot = slots_[position];
    slot.map = identity_map(space);
    if (reduces) {
      const AxisMap whole = slot.map;
      slot.map = {};
      const bool keeps = space.size() == output.shape.size();
      for (int d = 0; d < space.ndim(); ++d) {
        if (!lists(*rule.axes, d)) {
          slot.map.to[slot.map.ndim++] = whole.to[d];
        } else if (keeps) {
          slot.map.to[slot.map.ndim++] = AxisMap::kNowhere;
        }
      }
      const uint32_t reduced = cover_of(space) & ~slot.map.cover();
      group.row_dims = reduced ? __builtin_ctz(reduced) : 0;
      if (!reduced || slot.map.cover() >> group.row_dims) {
        return false;
      }
    }
    slot.group = static_cast<uint32_t>(groups_.size());
    groups_.push_back(std::move(group));
    add_inputs(groups_.back(), node);
    keep(groups_.back());
    offer_inputs(slot.group, node, rule, slot.map);
    return true;
  }

  // Whether the node, by itself, could overwrite an input that dies at it.
  bool may_overwrite(Node& node, uint32_t position) const {
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

  bool join(uint32_t id, uint32_t position, const FusionRule& rule) {
    Node& node = *tape_[position];
    FusionGroup& group = groups_[id];
    const bool has_room =
        group.count < kMostMembers && group.externals.size() + node.input_count() <= kMostExternals;
    if (!may_vanish(node) || node.stream() != tape_[group.root]->stream() ||
        !(has_room || is_generated(rule.kind))) {
      return false;
    }
    int row_dims = group.row_dims;
    Shape added;
    if (!fits(group, slots_[position], node, rule, row_dims, added)) {
      return false;
    }
    count_memory(group, node, position, rule);
    group.row_dims = row_dims;
    for (int64_t n : added) {
      group.space.push_back(n);
    }
    Slot& slot = slots_[position];
    slot.group = id;
    slot.next = group.first;
    group.first = position;
    ++group.count;
    offer_inputs(id, node, rule, slot.map);
    if (keeps_memory_rule(group)) {
      keep(group);
    }
    return true;
  }

  // Whether the member's result is a value of each element or of each row, and what has to be
  // known of rows then.
  bool fits(
      const FusionGroup& group,
      const Slot& slot,
      Node& node,
      const FusionRule& rule,
      int& row_dims,
      Shape& added) const {
    if (is_generated(rule.kind)) {
      return true;
    }
    const uint32_t all = cover_of(group.space);
    const uint32_t cover = slot.map.cover();
    const Shape& output = node.output(0).shape;
    if (output.ndim() > kMostFusedDims) {
      return false;
    }
    const bool extends = rule.kind == Kind::reduce && row_dims < 0 && cover == all;
    if (rule.kind == Kind::squeeze && node.inputs()[0].ndim() > kMostFusedDims) {
      return false;
    }
    if (cover != all && row_dims < 0) {
      // A value of each row that the whole space reads.
      if (is_seen_through(rule.kind) && !may_join(node.inputs()[0])) {
        return false;
      }
      row_dims = cover ? 32 - __builtin_clz(cover) : 0;
      if ((!cover && __builtin_popcount(all) > 1) || length_from(group, row_dims) > kLongestRow) {
        return false;
      }
    }
    if (extends) {
      return extend(group, node, *rule.axes, row_dims, added);
    }
    const uint32_t rows = row_dims < 0 ? all : all & below(row_dims);
    const bool of_row = cover == rows && row_dims >= 0;
    if (cover != all && !of_row) {
      return false;
    }
    const bool spreads = of_row && (slot.read_along & ~rows) != 0;
    if (spreads && length_from(group, row_dims) > kLongestRow) {
      return false;
    }
    return rule.kind != Kind::reduce || (of_row && reduces_rows(group, node, *rule.axes, row_dims));
  }

  static int64_t length_from(const FusionGroup& group, int row_dims) {
    int64_t length = 1;
    for (int d = row_dims; d < group.space.ndim(); ++d) {
      length *= group.space[d];
    }
    return length;
  }

  // The sizes of the dimensions that are reduced, if they come last.
  static bool reduced_sizes(const Shape& shape, const Axes& axes, Shape& sizes) {
    for (int d = 0; d < shape.ndim(); ++d) {
      if (lists(axes, d)) {
        if (shape[d] != 1) {
          sizes.push_back(shape[d]);
        }
      } else if (shape[d] != 1 && !sizes.empty()) {
        return false;
      }
    }
    return !sizes.empty() && shape.ndim() <= kMostFusedDims && element_count(sizes) > 0;
  }

  // A reduction of what the space does not have yet: its rows get elements.
  static bool extend(
      const FusionGroup& group, Node& node, const Axes& axes, int& row_dims, Shape& added) {
    row_dims = group.space.ndim();
    return reduced_sizes(node.inputs()[0].shape(), axes, added) &&
           group.space.size() + added.size() <= kMostFusedDims;
  }

  // A reduction of the elements that the space's rows have.
  static bool reduces_rows(const FusionGroup& group, Node& node, const Axes& axes, int row_dims) {
    Shape sizes;
    Shape of_rows;
    for (int d = row_dims; d < group.space.ndim(); ++d) {
      if (group.space[d] != 1) {
        of_rows.push_back(group.space[d]);
      }
    }
    return reduced_sizes(node.inputs()[0].shape(), axes, sizes) && sizes == of_rows;
  }

  void offer_inputs(uint32_t id, Node& node, const FusionRule& rule, const AxisMap& map) {
    FusionGroup& group = groups_[id];
    const Shape& root_shape = tape_[group.root]->output(0).shape;
    uint32_t cover = map.cover();
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      const array& input = node.inputs()[i];
      AxisMap input_map;
      if (rule.kind == Kind::reduce) {
        input_map = map_of_reduced(group, *rule.axes, map, input.shape());
        cover = input_map.cover();
      } else {
        input_map = map_of_input(rule, map, input.shape());
      }
      if (group.row_dims >= 0 && input.shape() == root_shape &&
          !(input_map == slots_[group.root].map)) {
        external_of(group, *input.output()).askew = true;
      }
      offer(input, id, input_map, cover);
    }
  }

  static FusionGroup::External& external_of(FusionGroup& group, Output& output) {
    for (FusionGroup::External& known : group.externals) {
      if (known.output == &output) {
        return known;
      }
    }
    group.externals.push_back({&output, 0, 0, false});
    return group.externals.back();
  }

  // Notes what a member reads. Returns the bytes that stay for longer than without fusion.
  int64_t add_inputs(FusionGroup& group, Node& node) {
    int64_t extended = 0;
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      Output& output = *node.inputs()[i].output();
      FusionGroup::External& external = external_of(group, output);
      if (external.edges++ == 0) {
        external.extended = extended_bytes(group, output);
        extended += external.extended;
      }
    }
    return extended;
  }

  int64_t extended_bytes(const FusionGroup& group, Output& output) {
    if (output.value >= group.root || is_joining(group, output) ||
        group.takes_in({&output, 1, 0, false})) {
      return 0;
    }
    return kept_bytes(output);
  }

  // Whether the value may be a view of what its node reads.
  static bool is_view(const Output& output) {
    Node& node = *output.node;
    return !is_held(output) && node.status() == Status::lazy && node.input_count() > 0 &&
           node.primitive().fusion().shows_input;
  }

  // The bytes that stay as long as a value does, at most: its own, and what it may be a view of.
  // Views of views form a graph, in which every node is looked at once.
  int64_t kept_bytes(Output& output) {
    if (is_view(output)) {
      open_views_.assign(1, output.node);
    }
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

  int64_t known_bytes(const Output& output) const {
    const int64_t own = own_bytes(output);
    return is_view(output) ? std::max(own, seen_bytes_.at(output.node)) : own;
  }

  static int64_t own_bytes(const Output& output) {
    const Node& node = *output.node;
    if (is_held(output)) {
      return 0;
    }
    if (node.status() == Status::lazy) {
      return is_seen_through(node.primitive().fusion().kind) ? 0 : bytes_of(output);
    }
    const Buffer* buffer = node.status() == Status::ready ? output.buffer.get() : nullptr;
    return buffer && buffer->source ? buffer->bytes : 0;
  }

  // A generated value that only the group reads is sure to become a part of it.
  bool is_joining(const FusionGroup& group, const Output& output) const {
    Node& node = *output.node;
    if (output.uses != 1 || node.status() != Status::lazy || is_held(output) ||
        !is_generated(node.primitive().fusion().kind)) {
      return false;
    }
    const Slot& slot = slots_[node.pending];
    return !slot.barred && !slot.leads && node.stream() == tape_[group.root]->stream();
  }

  // What a new member changes.
  void count_memory(FusionGroup& group, Node& node, uint32_t position, const FusionRule& rule) {
    Output& output = node.output(0);
    auto own = std::find_if(
        group.externals.begin(), group.externals.end(), [&](const FusionGroup::External& e) {
          return e.output == &output;
        });
    const FusionGroup::External was = *own;
    *own = group.externals.back();
    group.externals.pop_back();
    int64_t saved = 0;
    if (is_seen_through(rule.kind)) {
      // What it shows stays as long as it did.
      add_inputs(group, node);
      for (FusionGroup::External& external : group.externals) {
        if (external.output == node.inputs()[0].output() && external.edges == 1) {
          external.extended = was.extended;
        }
      }
    } else {
      const bool counted =
          output.value >= group.root || was.extended > 0 || !is_joining(group, output);
      saved = (counted ? bytes_of(output) : 0) - add_inputs(group, node);
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

  bool keeps_memory_rule(const FusionGroup& group) const {
    return group.gap_slack >= 0 && group.best >= 0 &&
           (group.root_bytes <= group.best || is_sure_to_overwrite(group));
  }

  // Whether nothing is allocated between two positions.
  bool is_adjacent(uint32_t position, uint32_t first) const {
    for (uint32_t i = position + 1; i < first; ++i) {
      if (!is_seen_through(tape_[i]->primitive().fusion().kind)) {
        return false;
      }
    }
    return true;
  }

  // Whether the group's step surely takes the buffer of an array that dies there.
  bool is_sure_to_overwrite(const FusionGroup& group) const {
    Node& root = *tape_[group.root];
    const Output& output = root.output(0);
    if (root.primitive().fusion().kind == Kind::reduce) {
      return false;
    }
    for (const FusionGroup::External& external : group.externals) {
      const Output& input = *external.output;
      if (external.askew || is_held(input) || input.uses != external.edges ||
          input.shape != output.shape || size_of(input.dtype) != size_of(output.dtype) ||
          is_joining(group, input) || group.takes_in(external)) {
        continue;
      }
      Node& node = *input.node;
      if (node.status() == Status::ready) {
        const Buffer* buffer = input.buffer.get();
        if (buffer && buffer->source && buffer->bytes == group.root_bytes &&
            buffer->refs.load(std::memory_order_acquire) == 1 && input.layout.dense &&
            input.layout.offset == 0) {
          return true;
        }
      } else if (
          node.status() == Status::lazy && node.stream() == root.stream() &&
          !node.primitive().fusion().shows_input) {
        return true;
      }
    }
    return false;
  }

  const Tape& tape_;
  const std::vector<uint32_t>& barred_;
  LiveFamilies families_;
  std::vector<Slot>& slots_;
  std::vector<FusionGroup>& groups_;
  std::vector<uint32_t> let_go_;                        // positions
  std::vector<uint32_t> staying_;                       // scratch
  std::vector<Node*> open_views_;                       // scratch
  std::unordered_map<const Node*, int64_t> seen_bytes_; // through nodes that show their inputs
  Stream stream_;
  Backend* backend_ = nullptr;
};

void FusionGroups::find(const Tape& tape, const std::vector<uint32_t>& barred) {
  FusionFinder(tape, barred, *this).run();
}

} // namespace narrows
