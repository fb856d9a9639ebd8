// Fusion: which nodes of a tape run as one step, tile by tile, without arrays between them.
#pragma once

#include <vector>

#include "narrows/fuse/axis_map.h"
#include "narrows/walk/linearize.h"

namespace narrows {

// Nodes that run as one step, at the place of the last one, the root.
struct FusionGroup {
  // An array that members read and no member makes. Literals do not count: the program contains
  // their values.
  struct External {
    Output* output;
    int64_t extended; // bytes that are kept for longer than without fusion
    uint32_t edges;   // from members
    uint8_t cover;    // the dimensions of the space that they read it along, as bits
    bool mixed;       // members read it along different dimensions
  };

  // A member whose result the step stores beside the root's, because somebody holds it or reads it
  // behind the root.
  struct Stored {
    uint32_t position;
    uint32_t edges; // from members
  };

  uint32_t root;        // position in the tape
  uint32_t first;       // position of the first member
  uint32_t count = 1;   // members
  uint32_t spreads = 0; // members whose results, one for each row, are read by the rows' elements
  Shape space;          // see Program
  int row_dims = -1;    // dimensions of rows; -1: rows have one element
  SmallVector<External, 4> externals;
  uint32_t literals = 0;                 // edges from members
  SmallVector<Stored, 4> stored;         // from the last of them to the first
  const ProgramLimits* limits = nullptr; // of the root's backend

  // The most instructions and operands of its program.
  uint32_t instructions() const {
    return count + spreads;
  }
  // For the memory rule, see MemoryRule.
  int64_t output_bytes = 0;
  int64_t gap_slack = INT64_MAX;
  int64_t best = 0;
  bool in_run = true;

  // The group when the rule held for the last time.
  uint32_t kept_first = 0;
  uint32_t kept_count = 1;
  int kept_row_dims = -1;
  size_t kept_dims = 0; // of the space
  size_t kept_stored = 0;
};

// What the finder knows of a node.
struct FusionSlot {
  uint32_t group = UINT32_MAX;
  uint32_t offered = UINT32_MAX; // the group of all its readers, or of all but some behind its root
  uint32_t first_reader = UINT32_MAX; // of the readers met so far
  uint32_t edges = 0;                 // from these readers
  bool read_elsewhere = false;        // also by readers behind that group
  uint32_t next = UINT32_MAX;         // member of the group, in the order of the tape
  uint8_t read_along = 0;             // dimensions that its readers cover
  bool barred = false;                // from joining groups
  bool leads = false;                 // may only be a root
  bool viewed = false;                // a reader may show it
  AxisMap map;                        // as its readers see it
};

// The groups of a tape.
class FusionGroups {
 public:
  // Finds the groups. `uses` of all outputs must have been counted; their `value` is overwritten.
  // Leaves out the nodes at the positions `barred`. Under graph_mutex().
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
  // Whether a fused node is the last of its group.
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
