// ProgramSchedule: how threads of a GPU compute the values of a fused program.
#pragma once

#include <cstdint>
#include <vector>

#include "narrows/runtime/program.h"

namespace narrows::gpu {

// Whether a program has neither reductions nor results of rows. Then all threads share all
// elements, and each computes what elements of a row share.
bool is_elementwise(const Program& program);

// Nothing is kept of a row's elements. Threads go over the elements once for each reduction that
// needs an earlier one, and once for the results; values that are needed in several passes are
// computed in each of them. What is known between two passes are values of the row.
struct ProgramSchedule {
  struct Value {
    uint16_t source;    // the value itself, or the one that it repeats
    bool of_row;        // computed once for a row; also of constants
    uint32_t passes;    // those that compute it, as bits. Values of rows are computed before a pass
    uint16_t last_read; // the last instruction that reads it
  };

  bool is_split;   // it is elementwise
  uint32_t passes; // over the elements of a row
  std::vector<Value> values;

  explicit ProgramSchedule(const Program& program);
};

} // namespace narrows::gpu
