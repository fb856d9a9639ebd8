// TapeDescription: all that planning looks at in a tape, apart from the parameters of its
// primitives, as numbers. Tapes with the same description and equal primitives have the same plan.
#pragma once

#include <cstdint>
#include <vector>

#include "narrows/walk/linearize.h"

namespace narrows {

struct TapeDescription {
  // Of each node its stream, edges, and the shapes, dtypes and handles of its outputs; of each
  // array from before the tape its layout, its buffer and how often both are held; of a literal its
  // value.
  std::vector<uint64_t> words;
  std::vector<Output*> inputs; // the arrays from before the tape, in the order of their first edges
  uint64_t hash = 0;           // of the words
};

// Under graph_mutex(). Writes `pending` of the nodes, their places in the tape, and scratch of the
// planner.
void describe(const Tape& tape, TapeDescription& description);

} // namespace narrows
