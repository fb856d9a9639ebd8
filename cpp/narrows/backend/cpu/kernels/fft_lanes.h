// Fourier transforms of several lines at once: element i of lane j stands at i * kFftLanes + j,
// real and imaginary parts apart. So every operation is one of vectors.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

inline constexpr int64_t kFftLanes = 16;
// The largest factor that a stage takes.
inline constexpr int kLargestRadix = 13;

// The real and the imaginary parts. Exchanged they make a transform the inverse one.
struct FftParts {
  float* re;
  float* im;
};

// One step of a transform that sorts as it goes: sub-transforms of length `radix`, whose results
// are multiplied with powers of a root of unity. From `blocks` * `radix` groups of `width` numbers
// it takes those at p, p + blocks, ..., and puts them at p * radix, p * radix + 1, ...
struct FftStage {
  int radix;
  int64_t blocks;
  int64_t width;       // of all lanes
  const float* powers; // for each block radix - 1 pairs
};

struct FftLanes {
  void (*stage)(const FftStage& stage, FftParts from, FftParts to);
  // Elements i of `lanes` lines: complex ones at from[2 * (i * step + lane * lane_step)], real ones
  // at from[i * step + lane * lane_step]. Other lanes become zero.
  void (*load)(
      const float* from, int64_t n, int64_t step, int64_t lanes, int64_t lane_step, FftParts to);
  void (*load_real)(
      const float* from, int64_t n, int64_t step, int64_t lanes, int64_t lane_step, FftParts to);
  // The same in the other direction, times `scale`.
  void (*store)(
      FftParts from,
      int64_t n,
      int64_t step,
      int64_t lanes,
      int64_t lane_step,
      float scale,
      float* to);
  void (*store_real)(
      FftParts from,
      int64_t n,
      int64_t step,
      int64_t lanes,
      int64_t lane_step,
      float scale,
      float* to);
  // The same from rows of `step` numbers, both parts apart.
  void (*load_parts)(FftParts from, int64_t n, int64_t step, int64_t lanes, FftParts to);
  // Element i of each lane times factor i, a pair.
  void (*multiply)(FftParts lanes, int64_t n, const float* factors);
  // Element i of lane j times a[i % fine] * b[i / fine]. For each i these have kFftLanes real parts
  // and then as many imaginary ones.
  void (*turn)(FftParts lanes, int64_t n, int64_t fine, const float* a, const float* b);
  // Element i of lane j times factors[i].
  void (*turn_by)(FftParts lanes, int64_t n, const float* factors);
  // The first `count` lanes become rows of `step` numbers.
  void (*transpose)(FftParts lanes, int64_t n, int64_t count, int64_t step, FftParts to);
  // n complex numbers times n factors and `scale`, with the parts of what is read or written
  // exchanged.
  void (*multiply_row)(
      const float* from,
      int64_t n,
      const float* factors,
      bool exchange_in,
      bool exchange_out,
      float scale,
      float* to);
};

FftLanes fft_lanes();

#define NARROWS_DECLARE_FFT(isa) \
  namespace isa {                \
  FftLanes fft_lanes();          \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_FFT)
#undef NARROWS_DECLARE_FFT

} // namespace narrows::cpu
