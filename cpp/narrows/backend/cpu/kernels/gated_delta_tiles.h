// The inner loop of gated delta updates, found by type and instruction set.
#pragma once

#include <cstdint>

#include "metal_kernels/gated_delta.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu {

// Rows of a state that are updated together.
inline constexpr int64_t kGatedDeltaRows = 32;

// The operands of one head of one entry of the batch, from the first of its rows on.
struct GatedDeltaOperands {
  const GatedDeltaParams* params;
  const void* query;
  const void* key;
  const void* value;
  const void* decay;
  const void* rate;
  const void* state;
  void* result;
  void* result_state;
  void* scratch; // kGatedDeltaRows + 2 numbers of the type that is computed in for each column
};

// Updates `rows` rows, kGatedDeltaRows at most, over the whole length.
using GatedDeltaTile = void (*)(const GatedDeltaOperands& operands, int64_t rows);

// For this process's instruction set. Floating dtypes.
GatedDeltaTile gated_delta_tile(Dtype dtype);

#define NARROWS_DECLARE_GATED_DELTA(isa)        \
  namespace isa {                               \
  GatedDeltaTile gated_delta_tile(Dtype dtype); \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_GATED_DELTA)
#undef NARROWS_DECLARE_GATED_DELTA

} // namespace narrows::cpu
