// How a Fourier transform of some length is computed, with the roots of unity that it takes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "narrows/backend/cpu/kernels/fft_lanes.h"

namespace narrows::cpu {

struct FftPlan {
  int64_t length = 0;

  // In lanes: stages, where no prime factor is too large for one.
  std::vector<FftStage> stages;
  std::vector<float> powers; // that the stages point to

  // Else as a convolution with a chirp, by transforms of the length of `inner`.
  std::shared_ptr<const FftPlan> inner;
  std::vector<float> chirp;    // pairs, `length` of them
  std::vector<float> spectrum; // of the chirp, over the inner length

  // Or, of a contiguous row of length `first` * `second`: transforms of columns, then of rows,
  // which both stand in lanes.
  int64_t first = 0;
  int64_t second = 0;
  std::shared_ptr<const FftPlan> first_plan;
  std::shared_ptr<const FftPlan> second_plan;
  // The factors in between: element i of column j is turned by root(i * j). For short rows they are
  // kept, as turn_by() takes them; for long ones made of the roots of small and large exponents.
  std::vector<float> turns;
  std::vector<double> low_roots;
  std::vector<double> high_roots;

  // Whether rows of this length are transformed one by one.
  bool takes_rows() const {
    return first > 0 || (inner && inner->first > 0);
  }
  // Elements of each of the lanes.
  int64_t lane_length() const {
    return inner ? inner->length : length;
  }
};

// exp(-2 pi i k / n) for the k that real transforms of even length n need: 0 to n / 4.
struct RealRoots {
  std::vector<float> pairs;
};

// For contiguous rows, or for lanes only. From a cache of those that were used lately.
enum class FftUse : uint8_t { lanes, rows };
std::shared_ptr<const FftPlan> fft_plan(int64_t length, FftUse use);
std::shared_ptr<const RealRoots> real_roots(int64_t length);

} // namespace narrows::cpu
