// Parameters of program: a fused program as steps, for the kernel that interprets it.
#pragma once

#include "arange.h"
#include "limits.h"

// Limits of programs.
#define NARROWS_PROGRAM_INPUTS 12 // operands, in memory or not
#define NARROWS_PROGRAM_OUTPUTS 4
#define NARROWS_PROGRAM_INSTRUCTIONS 32
// Registers of elements. Registers of rows are numbered behind them.
#define NARROWS_PROGRAM_ELEMENT_REGISTERS 24
#define NARROWS_PROGRAM_ROW_REGISTERS 44
#define NARROWS_PROGRAM_STEPS 48 // loads, instructions and stores
#define NARROWS_PROGRAM_OPERANDS (NARROWS_PROGRAM_INPUTS + NARROWS_PROGRAM_OUTPUTS)

enum class ProgramAction : uint8_t {
  load,     // op: the operand
  number,   // op: the operand, a constant
  sequence, // op: the operand
  elementwise,
  cast,
  select,
  reduce,
  store, // op: the operand
};

struct ProgramStep {
  ProgramAction action;
  uint8_t op;
  uint8_t type; // the number of the Dtype of its inputs
  uint8_t to;   // and of its result
  uint8_t out;  // a register
  uint8_t in[3];
  uint32_t passes; // those that it runs in, as bits
  uint32_t of_row; // it runs once, before the elements of the row
};

// A program of its own that is compiled from text adds up in the same order: see
// backend/gpu/program_layout.h.
//
// Threadgroups take one row after the other, and go over its elements `passes` times. Steps of rows
// also run in a last pass, in which there are no elements. Dimensions of rows come first.
struct ProgramParams {
  int64_t rows;
  int64_t length; // elements of a row
  int32_t row_ndim;
  int32_t ndim;
  int32_t is_split; // all threadgroups share the only row, each with one run of elements
  int32_t passes;
  int32_t steps;
  int32_t rounds; // in which a thread takes its elements, NARROWS_PROGRAM_ELEMENTS each
  int32_t
      pack_shift; // a thread has packs of 1 << pack_shift neighbours, as far apart as the threads
  int32_t unused;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t strides[NARROWS_PROGRAM_OPERANDS][NARROWS_MAX_DIMS];
  uint64_t numbers[NARROWS_PROGRAM_INPUTS];
  ArangeParams sequences[NARROWS_PROGRAM_INPUTS];
  ProgramStep list[NARROWS_PROGRAM_STEPS];
};

// The elements that a thread takes at once.
#define NARROWS_PROGRAM_ELEMENTS 4
