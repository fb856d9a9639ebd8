// Fusion: which nodes of a tape run as one step, over tiles, without arrays between them.
#pragma once

#include <vector>

#include "narrows/fuse/axis_map.h"
#include "narrows/walk/linearize.h"

namespace narrows {

// Nodes that run as one step at the place of their last one, the root.
struct FusionGroup {
  // An array that members read and that none of them makes. Literals are none: the program has
  // their values.
  struct External {
    Output* output;
    int64_t extended; // bytes that are kept for longer than without fusion
    uint32_t edges;   // from members
    uint8_t cover;    // the dimensions of the space along which they read it, as bits
    bool mixed;       // not all read it along the same
  };

  // A member whose result the step leaves beside the root's: somebody holds it, or reads it behind
  // the root.
  struct Stored {
    uint32_t position;
    uint32_t edges; // from members
  };

  uint32_t root;        // position in the tape
  uint32_t first;       // member
  uint32_t count = 1;   // members
  uint32_t spreads = 0; // of them, those whose results, one for each row, its elements read
  Shape space;          // see Program
  int row_dims = -1;    // dimensions of rows, -1: rows have one element
  SmallVector<External, 4> externals;
  uint32_t literals = 0;                 // edges from members
  SmallVector<Stored, 4> stored;         // from the last of them to the first
  const ProgramLimits* limits = nullptr; // of the root's backend

  // Of its program, at most.
  uint32_t instructions() const {
    return count + spreads;
  }
  // What the memory rule needs: see MemoryRule.
  int64_t output_bytes = 0;
  int64_t gap_slack = INT64_MAX;
  int64_t best = 0;
  bool in_run = true;

  // When that rule held last.
  uint32_t kept_first = 0;
  uint32_t kept_count = 1;
  int kept_row_dims = -1;
  size_t kept_dims = 0; // of the space
  size_t kept_stored = 0;
};

// What is known of a node.
struct FusionSlot {
  uint32_t group = UINT32_MAX;
  uint32_t offered = UINT32_MAX;      // the group of all that read it, or of all but some behind it
  uint32_t first_reader = UINT32_MAX; // of those met up to now
  uint32_t edges = 0;                 // from these
  bool read_elsewhere = false;        // too, but only behind that group
  uint32_t next = UINT32_MAX;         // member of the group, in the order of the tape
  uint8_t read_along = 0;             // what those that read it cover
  bool barred = false;                // from groups
  bool leads = false;                 // may only be a root
  AxisMap map;                        // as those that read it see it
};

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
  std::vector<FusionGroup>& groups() {
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
  std::vector<FusionSlot> slots_; // by position
  std::vector<FusionGroup> groups_;
};

} // namespace narrows
