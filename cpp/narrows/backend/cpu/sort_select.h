// Partitions: parts of sorted rows that are found without sorting.
#pragma once

#include "metal_kernels/sort.h"
#include "narrows/backend/cpu/kernels/sort_keys.h"

namespace narrows::cpu {

// How the threads share the rows of a call: a row each, or all threads one row.
struct RowShares {
  bool shared;
  int64_t slots; // threads that need scratch of their own
};

struct SelectCall {
  SortParams params;
  RowShares shares;
  SortKeys keys;
  const char* in;
  char* out;
  int64_t item_size;
  bool indices; // places are written, not elements

  const char* row_in(int64_t row) const {
    return in + row * params.length * item_size;
  }
  char* row_out(int64_t row) const {
    return out + row * params.count * (indices ? int64_t{sizeof(uint32_t)} : item_size);
  }
};

// The bytes of scratch that run_select() needs.
int64_t select_scratch(const SortParams& params, RowShares shares, int64_t key_size);

// Writes elements params.first and on of each partitioned row.
void run_select(const SelectCall& call, char* scratch);

} // namespace narrows::cpu
