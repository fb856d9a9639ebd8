// ProgramSpace: the space of a fused program, with as few dimensions as its operands allow.
#pragma once

#include "metal_kernels/limits.h"
#include "metal_kernels/program.h"
#include "narrows/runtime/backend.h"

namespace narrows::gpu {

struct ProgramSpace {
  int row_ndim = 0; // the dimensions of rows come first
  int ndim = 0;
  int64_t rows = 1;
  int64_t length = 1; // elements of a row
  int64_t shape[NARROWS_MAX_DIMS];
  // By operand of the call: those of the program, then the outputs.
  int64_t strides[NARROWS_PROGRAM_OPERANDS][NARROWS_MAX_DIMS] = {};

  // `is_split`: all elements belong to one row, in the order in which the last output lies.
  ProgramSpace(const ProgramCall& call, bool is_split);

 private:
  void add_dims(const ProgramCall& call, size_t first, size_t last, bool sorted);
};

} // namespace narrows::gpu
