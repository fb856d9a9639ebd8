// How a Fourier transform of some length is computed, with the factors that it takes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "narrows/backend/cpu/fft_roots.h"
#include "narrows/backend/cpu/kernels/fft_lanes.h"

namespace narrows::cpu {

// A plan without tables tells how much memory a call wants. It takes no memory to speak of, however
// long the transform is.
struct FftPlan {
  int64_t length = 0;

  // In lanes: stages, where no prime factor is too large for one.
  std::vector<FftStage> stages;
  std::vector<float> powers; // a table, which the stages point to

  // Else as a convolution with a chirp, by transforms of the length of `inner`. Tables: the chirp,
  // of `length` pairs, and its spectrum, over the inner length.
  std::shared_ptr<const FftPlan> inner;
  std::vector<float> chirp;
  std::vector<float> spectrum;

  // Or, of a contiguous row of length `first` * `second`: transforms of columns, then of rows,
  // which both stand in lanes.
  int64_t first = 0;
  int64_t second = 0;
  std::shared_ptr<const FftPlan> first_plan;
  std::shared_ptr<const FftPlan> second_plan;
  // The factors in between: element i of column j is turned by root(i * j). They are a table for
  // short rows, as turn_by() takes them, and made of roots for long ones.
  std::vector<float> turns;
  RootsOfUnity roots;

  bool keeps_turns() const;
  // Whether the chirp and its spectrum are tables of the plan. Else they are made for each call, in
  // its scratch.
  bool keeps_chirp() const;
  // Whether rows of this length are transformed one by one.
  bool takes_rows() const {
    return first > 0 || (inner && inner->first > 0);
  }
  // Elements of each of the lanes.
  int64_t lane_length() const {
    return inner ? inner->length : length;
  }
};

// exp(-pi i k^2 / length) for k from `begin` to `end` - 1, in pairs. `roots` has those of the order
// 2 * length.
void fill_chirp(
    const RootsOfUnity& roots, int64_t length, int64_t begin, int64_t end, float* pairs);

// exp(-2 pi i k / n) for the k that real transforms of even length n need: 0 to n / 4. Those of
// long rows are made when they are used.
class RealRoots {
 public:
  explicit RealRoots(int64_t length);

  // use(f), where f(k) is the root of exponent k as a pair.
  template <typename Use>
  void with(Use&& use) const {
    if (pairs_.empty()) {
      use([this](int64_t k) {
        const std::complex<double> root = roots_[k];
        return std::complex<float>(
            static_cast<float>(root.real()), static_cast<float>(root.imag()));
      });
    } else {
      use([pairs = pairs_.data()](int64_t k) { return pairs[k]; });
    }
  }
  int64_t bytes() const {
    return static_cast<int64_t>(pairs_.size() * sizeof(pairs_[0])) + roots_.bytes();
  }

 private:
  std::vector<std::complex<float>> pairs_;
  RootsOfUnity roots_;
};

// For contiguous rows, or for lanes only.
enum class FftUse : uint8_t { lanes, rows };
// Tables are made when a call runs, not when it is planned.
enum class FftTables : uint8_t { none, made };

// From caches of those that were used lately, which hold 64 MB each.
std::shared_ptr<const FftPlan> fft_plan(int64_t length, FftUse use, FftTables tables);
std::shared_ptr<const RealRoots> real_roots(int64_t length);

} // namespace narrows::cpu
