// Fusion: which nodes of a tape run as one step, over tiles, without arrays between them.
#pragma once

#include <algorithm>
#include <vector>

#include "narrows/core/shape.h"
#include "narrows/record/primitive.h"
#include "narrows/walk/linearize.h"

namespace narrows {

// Whether evaluations of this thread fuse: as its innermost scope says, else the process, else
// NARROWS_FUSION (0: no), else yes.
bool fusion_enabled();

// Of the process. Returns the previous value.
bool set_fusion(bool on);

// While it lives, it says so for this thread.
class FusionScope {
 public:
  explicit FusionScope(bool on);
  ~FusionScope();
  FusionScope(const FusionScope&) = delete;
  FusionScope& operator=(const FusionScope&) = delete;

 private:
  int8_t previous_;
};

// Whether an operation's axes name this one.
inline bool lists(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

inline constexpr int kMostFusedDims = 8;

// Where the dimensions of a value lie in the space of a group; those of size 1 nowhere.
struct AxisMap {
  static constexpr int8_t kNowhere = -1;

  uint8_t ndim = 0;
  int8_t to[kMostFusedDims];

  bool operator==(const AxisMap& other) const;
  // The dimensions of the space that the value varies along, as bits.
  uint32_t cover() const;
};

// As an array of this shape is seen that is an input of an elementwise operation, or of one that is
// seen through, whose output has this map.
AxisMap map_of_input(const FusionRule& rule, const AxisMap& output, const Shape& shape);

// Nodes that run as one step at the place of their last one, the root.
struct FusionGroup {
  uint32_t root;      // position in the tape
  uint32_t first;     // member
  uint32_t count = 1; // members
  Shape space;        // see Program
  int row_dims = -1;  // dimensions of rows, -1: rows have one element

  // What the memory rule needs: see FusionFinder.
  struct External {
    Output* output;
    uint32_t edges;
    int64_t extended; // bytes that are kept for longer than without fusion
    bool askew;       // read along other axes than those that the root's output has
  };
  // Whether all that is needed of it is its value, which the group's program takes in when it is
  // planned: a scalar that is there already and that only the group reads.
  bool takes_in(const External& external) const;
  const MemorySource* memory = nullptr; // of the root's backend
  SmallVector<External, 4> externals;
  int64_t root_bytes = 0;
  int64_t gap_slack = INT64_MAX;
  int64_t best = 0;
  bool in_run = true;
  // When the rule held last.
  uint32_t kept_first = 0;
  uint32_t kept_count = 1;
  int kept_row_dims = -1;
  size_t kept_dims = 0; // of the space
};

// As the input of a reduction is seen whose output has this map.
AxisMap map_of_reduced(
    const FusionGroup& group, const Axes& axes, const AxisMap& output, const Shape& shape);

// The groups of a tape.
class FusionGroups {
 public:
  // Under graph_mutex(), when `uses` of all outputs has been counted; overwrites their `value`.
  // Leaves out the nodes at the positions `barred`.
  void find(const Tape& tape, const std::vector<uint32_t>& barred);

  void clear() {
    slots_.clear();
    groups_.clear();
  }
  bool empty() const {
    return groups_.empty();
  }
  // Whether the node is in a group of several.
  bool is_fused(uint32_t position) const {
    return slots_[position].group != UINT32_MAX;
  }
  // Of a fused node: whether it is the last of its group.
  bool is_root(uint32_t position) const {
    return slots_[position].next == UINT32_MAX;
  }
  const std::vector<FusionGroup>& groups() const {
    return groups_;
  }
  const FusionGroup& group_of(uint32_t position) const {
    return groups_[slots_[position].group];
  }
  uint32_t next_member(uint32_t position) const {
    return slots_[position].next;
  }
  const AxisMap& map_of(uint32_t position) const {
    return slots_[position].map;
  }

 private:
  friend class FusionFinder;
  struct Slot {
    uint32_t group = UINT32_MAX;
    uint32_t offered = UINT32_MAX; // the group of all that read it
    uint32_t next = UINT32_MAX;    // member of the group, in the order of the tape
    uint8_t read_along = 0;        // what those that read it cover
    bool barred = false;           // from groups
    bool leads = false;            // may only be a root
    AxisMap map;                   // as those that read it see it
  };
  std::vector<Slot> slots_; // by position
  std::vector<FusionGroup> groups_;
};

} // namespace narrows
