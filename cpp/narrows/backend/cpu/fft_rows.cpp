#include "narrows/backend/cpu/fft_rows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

FftLanes fft_lanes() {
  return NARROWS_AT_BEST_ISA(fft_lanes());
}

const FftLanes& fft_functions() {
  static const FftLanes functions = fft_lanes();
  return functions;
}

namespace {

// Roots of exponents i * j are made of those of multiples of j and of kFine * j.
constexpr int64_t kFine = 32;
// Numbers that are worth a thread.
constexpr int64_t kThreadNumbers = 1 << 13;

FftParts run_stages(const FftPlan& plan, FftParts a, FftParts b) {
  for (const FftStage& stage : plan.stages) {
    fft_functions().stage(stage, a, b);
    std::swap(a, b);
  }
  return a;
}

void clear_lanes(FftParts parts, int64_t begin, int64_t end) {
  std::fill(parts.re + begin * kFftLanes, parts.re + end * kFftLanes, 0.0F);
  std::fill(parts.im + begin * kFftLanes, parts.im + end * kFftLanes, 0.0F);
}

// roots[i] holds those of exponents i * step * (column + lane).
void fill_roots(const FftPlan& plan, int64_t column, int64_t step, int64_t count, float* roots) {
  for (int64_t lane = 0; lane < kFftLanes; ++lane) {
    const int64_t turn =
        static_cast<int64_t>(static_cast<__int128>(step) * (column + lane) % plan.length);
    int64_t k = 0;
    for (int64_t i = 0; i < count; ++i) {
      const std::complex<double> root = plan.roots[k];
      float* at = roots + i * 2 * kFftLanes + lane;
      at[0] = static_cast<float>(root.real());
      at[kFftLanes] = static_cast<float>(root.imag());
      k += turn;
      k -= k >= plan.length ? plan.length : 0;
    }
  }
}

int64_t coarse_count(const FftPlan& plan) {
  return divided_up(plan.first, kFine);
}

// What a slot's lanes are followed by: the roots that are made for a block of columns.
int64_t roots_size(const FftPlan& plan) {
  return plan.keeps_turns() ? 0 : (kFine + coarse_count(plan)) * 2 * kFftLanes;
}

int64_t longest_lane(const FftPlan& plan) {
  return std::max(plan.first_plan->lane_length(), plan.second_plan->lane_length());
}

// run(block, memory) for blocks of lanes.
template <typename Run>
void over_blocks(int64_t blocks, int64_t slot_size, const RowWork& work, Run&& run) {
  const int64_t slots = std::min(blocks, work.lane_slots);
  parallel_for(slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      for (int64_t block = blocks * slot / slots; block < blocks * (slot + 1) / slots; ++block) {
        run(block, work.lanes + slot * slot_size);
      }
    }
  });
}

// Element i * second + j of the row is element i of column j. Its transform's element k is turned
// by root(j * k); then the elements k of all columns are transformed.
void transform_by_columns(
    const FftPlan& plan,
    const float* in,
    bool inverse,
    float scale,
    const RowWork& work,
    float* out) {
  const FftLanes& functions = fft_functions();
  const int64_t first = plan.first;
  const int64_t second = plan.second;
  const FftParts middle{work.row, work.row + plan.length};
  const int64_t slot_size = row_lanes_size(plan);
  const int64_t lane_length = longest_lane(plan);
  over_blocks(divided_up(second, kFftLanes), slot_size, work, [&](int64_t block, float* memory) {
    const int64_t column = block * kFftLanes;
    const int64_t lanes = std::min(kFftLanes, second - column);
    const LaneBuffers buffers(memory, lane_length);
    functions.load(in + 2 * column, first, second, lanes, 1, exchanged_if(inverse, buffers.a));
    const FftParts result = transform_lanes(*plan.first_plan, buffers);
    if (plan.keeps_turns()) {
      functions.turn_by(result, first, plan.turns.data() + block * first * 2 * kFftLanes);
    } else {
      float* fine = memory + lanes_size(lane_length);
      float* coarse = fine + kFine * 2 * kFftLanes;
      fill_roots(plan, column, 1, kFine, fine);
      fill_roots(plan, column, kFine, coarse_count(plan), coarse);
      functions.turn(result, first, kFine, fine, coarse);
    }
    const int64_t at = column * first;
    functions.transpose(result, first, lanes, first, {middle.re + at, middle.im + at});
  });
  over_blocks(divided_up(first, kFftLanes), slot_size, work, [&](int64_t block, float* memory) {
    const int64_t row = block * kFftLanes;
    const int64_t lanes = std::min(kFftLanes, first - row);
    const LaneBuffers buffers(memory, lane_length);
    functions.load_parts({middle.re + row, middle.im + row}, second, first, lanes, buffers.a);
    const FftParts result = transform_lanes(*plan.second_plan, buffers);
    functions.store(exchanged_if(inverse, result), second, first, lanes, 1, scale, out + 2 * row);
  });
}

// run(begin, end) for parts of n numbers.
template <typename Run>
void over_row(const RowWork& work, int64_t n, Run run) {
  parallel_for(n, work.shared ? kThreadNumbers : n, std::move(run));
}

RowWork inside(const FftPlan& plan, const RowWork& work) {
  return {work.shared, work.lanes, work.row + 2 * plan.inner->length, work.lane_slots, {}};
}

// The row's convolution with a chirp.
void transform_by_chirp(
    const FftPlan& plan,
    const float* in,
    bool inverse,
    float scale,
    const RowWork& work,
    float* out) {
  const FftLanes& functions = fft_functions();
  const int64_t inner = plan.inner->length;
  float* padded = work.row;
  const auto multiply = [&](const float* from,
                            bool exchange_in,
                            bool exchange_out,
                            float factor,
                            const float* factors,
                            int64_t n,
                            float* to) {
    over_row(work, n, [&](int64_t begin, int64_t end) {
      functions.multiply_row(
          from + 2 * begin,
          end - begin,
          factors + 2 * begin,
          exchange_in,
          exchange_out,
          factor,
          to + 2 * begin);
    });
  };
  multiply(in, inverse, false, 1, work.chirp.pairs, plan.length, padded);
  over_row(work, inner - plan.length, [&](int64_t begin, int64_t end) {
    std::fill(padded + 2 * (plan.length + begin), padded + 2 * (plan.length + end), 0.0F);
  });
  transform_row(*plan.inner, padded, false, 1, inside(plan, work), padded);
  multiply(padded, false, false, 1, work.chirp.spectrum, inner, padded);
  transform_row(*plan.inner, padded, true, 1, inside(plan, work), padded);
  multiply(padded, false, inverse, scale, work.chirp.pairs, plan.length, out);
}

} // namespace

FftParts transform_lanes(const FftPlan& plan, const LaneBuffers& buffers) {
  if (!plan.inner) {
    return run_stages(plan, buffers.a, buffers.b);
  }
  const FftLanes& functions = fft_functions();
  const int64_t inner = plan.inner->length;
  functions.multiply(buffers.a, plan.length, plan.chirp.data());
  clear_lanes(buffers.a, plan.length, inner);
  const FftParts product = run_stages(*plan.inner, buffers.a, buffers.b);
  functions.multiply(product, inner, plan.spectrum.data());
  const FftParts other = product.re == buffers.a.re ? buffers.b : buffers.a;
  const FftParts result = exchanged(run_stages(*plan.inner, exchanged(product), exchanged(other)));
  functions.multiply(result, plan.length, plan.chirp.data());
  return result;
}

int64_t row_size(const FftPlan& plan) {
  return plan.inner ? 2 * plan.inner->length + row_size(*plan.inner) : 2 * plan.length;
}

int64_t row_lanes_size(const FftPlan& plan) {
  return plan.inner ? row_lanes_size(*plan.inner)
                    : lanes_size(longest_lane(plan)) + roots_size(plan);
}

void transform_row(
    const FftPlan& plan,
    const float* in,
    bool inverse,
    float scale,
    const RowWork& work,
    float* out) {
  if (plan.inner) {
    transform_by_chirp(plan, in, inverse, scale, work, out);
  } else {
    transform_by_columns(plan, in, inverse, scale, work, out);
  }
}

int64_t chirp_size(const FftPlan& plan) {
  return plan.inner && !plan.keeps_chirp() ? 2 * (plan.length + plan.inner->length) : 0;
}

Chirp chirp_of(const FftPlan& plan, const RowWork& work, float* made) {
  if (chirp_size(plan) == 0) {
    return {plan.chirp.data(), plan.spectrum.data()};
  }
  const int64_t n = plan.length;
  const int64_t inner = plan.inner->length;
  float* spectrum = made + 2 * n;
  const RootsOfUnity roots(2 * n);
  over_row(work, n, [&](int64_t begin, int64_t end) {
    fill_chirp(roots, n, begin, end, made + 2 * begin);
  });
  // Its conjugate, in both directions from 0.
  over_row(work, inner, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t from = k < n ? k : inner - k;
      spectrum[2 * k] = from < n ? made[2 * from] : 0;
      spectrum[2 * k + 1] = from < n ? -made[2 * from + 1] : 0;
    }
  });
  const float scale = 1 / static_cast<float>(inner);
  transform_row(*plan.inner, spectrum, false, scale, inside(plan, work), spectrum);
  return {made, spectrum};
}

} // namespace narrows::cpu
