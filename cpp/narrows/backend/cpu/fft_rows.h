// Transforms of lanes and of contiguous rows by their plans.
#pragma once

#include "narrows/backend/cpu/fft_plan.h"

namespace narrows::cpu {

// The functions of this process's instruction set.
const FftLanes& fft_functions();

// The numbers in the lanes of a thread: both parts, twice.
inline int64_t lanes_size(int64_t length) {
  return 4 * length * kFftLanes;
}

struct LaneBuffers {
  FftParts a;
  FftParts b;

  LaneBuffers(FftParts first, FftParts second) : a(first), b(second) {
  }
  LaneBuffers(float* memory, int64_t length)
      : a{memory, memory + length * kFftLanes},
        b{memory + 2 * length * kFftLanes, memory + 3 * length * kFftLanes} {
  }
};

inline FftParts exchanged(FftParts parts) {
  return {parts.im, parts.re};
}
inline FftParts exchanged_if(bool exchange, FftParts parts) {
  return exchange ? exchanged(parts) : parts;
}

// Transforms `buffers.a`, which like `buffers.b` has room for plan.lane_length() elements of each
// lane. Returns the one of the two that has the result.
FftParts transform_lanes(const FftPlan& plan, const LaneBuffers& buffers);

// What a row is multiplied with before and after, and its spectrum in between.
struct Chirp {
  const float* pairs;
  const float* spectrum;
};

// How a row is transformed: on one thread or on all of them, each with lanes of its own.
struct RowWork {
  bool shared;
  float* lanes;       // of each slot
  float* row;         // row_size(plan) numbers
  int64_t lane_slots; // 1 if not shared
  Chirp chirp;        // if the plan has an inner one
};

// The numbers of scratch for a row, and for the lanes of one slot.
int64_t row_size(const FftPlan& plan);
int64_t row_lanes_size(const FftPlan& plan);

// The chirp of a plan of rows. If the plan does not keep it, it is made in chirp_size(plan) numbers
// at `made`, by the memory in `work`.
int64_t chirp_size(const FftPlan& plan);
Chirp chirp_of(const FftPlan& plan, const RowWork& work, float* made);

// Transforms a row of complex numbers into another row or in place, times `scale`. For plans of
// rows.
void transform_row(
    const FftPlan& plan,
    const float* in,
    bool inverse,
    float scale,
    const RowWork& work,
    float* out);

} // namespace narrows::cpu
