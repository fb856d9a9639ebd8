// Fourier transforms along an axis.
#include <algorithm>
#include <complex>
#include <span>

#include "metal_kernels/fft.h"
#include "narrows/backend/cpu/fft_rows.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Rows of at least so many numbers are shared by all threads if there are fewer rows than threads.
constexpr int64_t kLongRow = 1 << 14;
// The least number of numbers for a thread.
constexpr int64_t kThreadNumbers = 1 << 12;

// The way in which a call is computed.
struct Way {
  FftOp op;
  FftParams p;
  std::shared_ptr<const FftPlan> plan; // of the whole length, or of half the length of a real row
  std::shared_ptr<const RealRoots> roots; // of rows in halves, if there are tables
  bool rows;                              // one row after the other; else in lanes
  bool halves; // real rows of even length, as complex rows of half the length
  bool shared; // all threads share each row
  int64_t slots;

  int64_t in_length() const {
    return op == FftOp::inverse_real ? p.length / 2 + 1 : p.length;
  }
  int64_t out_length() const {
    return op == FftOp::real ? p.length / 2 + 1 : p.length;
  }
  // Numbers of scratch for each slot of lanes, and for each slot of rows.
  int64_t lane_numbers() const {
    return rows ? row_lanes_size(*plan) : lanes_size(plan->lane_length());
  }
  int64_t row_numbers() const {
    if (!rows) {
      return 0;
    }
    const int64_t copied = op == FftOp::complex ? 0 : 2 * plan->length;
    return row_size(*plan) + copied;
  }
  int64_t chirp_numbers() const {
    return rows ? chirp_size(*plan) : 0;
  }
  int64_t scratch_bytes() const {
    const int64_t row_slots = shared ? 1 : slots;
    return static_cast<int64_t>(sizeof(float)) *
           (slots * lane_numbers() + row_slots * row_numbers() + chirp_numbers());
  }
};

Way way_of(const KernelId& id, const FftParams& p, FftTables tables) {
  Way way{static_cast<FftOp>(id.op), p, nullptr, nullptr, false, false, false, 1};
  const int64_t threads = thread_count();
  if (p.inner == 1) {
    const bool even_real = way.op != FftOp::complex && p.length % 2 == 0;
    way.plan = fft_plan(even_real ? p.length / 2 : p.length, FftUse::rows, tables);
    way.rows = way.plan->takes_rows();
    way.halves = way.rows && even_real;
  }
  if (!way.rows) {
    way.plan = fft_plan(p.length, FftUse::lanes, tables);
    const int64_t lines = p.inner == 1 ? p.outer : p.inner;
    const int64_t blocks = (p.inner == 1 ? 1 : p.outer) * divided_up(lines, kFftLanes);
    const int64_t worth = blocks * kFftLanes * p.length / kThreadNumbers;
    way.slots = std::clamp<int64_t>(worth, 1, std::min(threads, blocks));
    return way;
  }
  if (way.halves && tables == FftTables::made) {
    way.roots = real_roots(p.length);
  }
  way.shared = threads > 1 && p.outer < threads && p.length >= kLongRow;
  const int64_t worth = p.outer * p.length / kThreadNumbers;
  way.slots = way.shared ? threads : std::clamp<int64_t>(worth, 1, std::min(threads, p.outer));
  return way;
}

// For a real row whose even and odd elements were transformed as real and imaginary parts: turns
// the result into the transform of the row, in place. `n` is the length of the row.
template <typename Roots>
void part_halves(float* z, int64_t n, Roots&& roots) {
  const int64_t half = n / 2;
  const float re = z[0];
  const float im = z[1];
  z[0] = re + im;
  z[1] = 0;
  z[2 * half] = re - im;
  z[2 * half + 1] = 0;
  for (int64_t k = 1; k <= half / 2; ++k) {
    float* a = z + 2 * k;
    float* b = z + 2 * (half - k);
    const float even_re = (a[0] + b[0]) / 2;
    const float even_im = (a[1] - b[1]) / 2;
    const float odd_re = (a[1] + b[1]) / 2;
    const float odd_im = (b[0] - a[0]) / 2;
    const std::complex<float> w = roots(k);
    const float turned_re = w.real() * odd_re - w.imag() * odd_im;
    const float turned_im = w.real() * odd_im + w.imag() * odd_re;
    a[0] = even_re + turned_re;
    a[1] = even_im + turned_im;
    b[0] = even_re - turned_re;
    b[1] = turned_im - even_im;
  }
}

// The inverse, for x[0] to x[n / 2]. The result is twice as large.
template <typename Roots>
void join_halves(const float* x, int64_t n, Roots&& roots, float* z) {
  const int64_t half = n / 2;
  z[0] = x[0] + x[2 * half];
  z[1] = x[0] - x[2 * half];
  for (int64_t k = 1; k <= half / 2; ++k) {
    const float* a = x + 2 * k;
    const float* b = x + 2 * (half - k);
    const float even_re = a[0] + b[0];
    const float even_im = a[1] - b[1];
    const float odd_re = a[0] - b[0];
    const float odd_im = a[1] + b[1];
    const std::complex<float> w = roots(k);
    const float turned_re = w.real() * odd_re + w.imag() * odd_im;
    const float turned_im = w.real() * odd_im - w.imag() * odd_re;
    const float b_re = even_re + turned_im;
    const float b_im = turned_re - even_im;
    z[2 * k] = even_re - turned_im;
    z[2 * k + 1] = even_im + turned_re;
    z[2 * (half - k)] = b_re;
    z[2 * (half - k) + 1] = b_im;
  }
}

// Writes the elements of a real row's transform that are left out: they are conjugates of others.
void complete_row(const float* x, int64_t n, float* z) {
  z[0] = x[0];
  z[1] = 0;
  for (int64_t k = 1; k <= n / 2; ++k) {
    const bool is_middle = 2 * k == n;
    z[2 * k] = z[2 * (n - k)] = x[2 * k];
    z[2 * k + 1] = is_middle ? 0 : x[2 * k + 1];
    z[2 * (n - k) + 1] = is_middle ? 0 : -x[2 * k + 1];
  }
}

void run_row(const Way& way, const float* in, float* out, const RowWork& work) {
  const auto scale = static_cast<float>(way.p.scale);
  const int64_t n = way.p.length;
  const FftPlan& plan = *way.plan;
  if (way.op == FftOp::complex) {
    return transform_row(plan, in, way.p.inverse != 0, scale, work, out);
  }
  // The row as complex numbers lies behind the scratch of its transform.
  float* row = work.row + row_size(plan);
  if (way.halves && way.op == FftOp::real) {
    transform_row(plan, in, false, scale, work, out);
    return way.roots->with([&](auto&& roots) { part_halves(out, n, roots); });
  }
  if (way.halves) {
    way.roots->with([&](auto&& roots) { join_halves(in, n, roots, row); });
    return transform_row(plan, row, true, scale, work, out);
  }
  if (way.op == FftOp::real) {
    for (int64_t i = 0; i < n; ++i) {
      row[2 * i] = in[i];
      row[2 * i + 1] = 0;
    }
    transform_row(plan, row, false, scale, work, row);
    std::copy_n(row, 2 * way.out_length(), out);
    return;
  }
  complete_row(in, n, row);
  transform_row(plan, row, true, scale, work, row);
  for (int64_t i = 0; i < n; ++i) {
    out[i] = row[2 * i];
  }
}

void run_rows(const Way& way, const float* in, float* out, float* scratch) {
  const int64_t in_step = way.in_length() * (way.op == FftOp::real ? 1 : 2);
  const int64_t out_step = way.out_length() * (way.op == FftOp::inverse_real ? 1 : 2);
  float* rows = scratch + way.slots * way.lane_numbers();
  float* made =
      scratch + way.scratch_bytes() / static_cast<int64_t>(sizeof(float)) - way.chirp_numbers();
  const Chirp chirp = chirp_of(*way.plan, {true, scratch, rows, way.slots, {}}, made);
  if (way.shared) {
    const RowWork work{true, scratch, rows, way.slots, chirp};
    for (int64_t row = 0; row < way.p.outer; ++row) {
      run_row(way, in + row * in_step, out + row * out_step, work);
    }
    return;
  }
  parallel_for(way.slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      float* lanes = scratch + slot * way.lane_numbers();
      const RowWork work{false, lanes, rows + slot * way.row_numbers(), 1, chirp};
      const int64_t end = way.p.outer * (slot + 1) / way.slots;
      for (int64_t row = way.p.outer * slot / way.slots; row < end; ++row) {
        run_row(way, in + row * in_step, out + row * out_step, work);
      }
    }
  });
}

// The same as complete_row() for lanes.
void complete_lanes(FftParts x, int64_t n) {
  std::fill_n(x.im, kFftLanes, 0.0F);
  for (int64_t k = 1; k <= n / 2; ++k) {
    for (int64_t lane = 0; lane < kFftLanes; ++lane) {
      const int64_t at = k * kFftLanes + lane;
      const int64_t mirrored = (n - k) * kFftLanes + lane;
      const float im = 2 * k == n ? 0 : x.im[at];
      x.re[mirrored] = x.re[at];
      x.im[at] = im;
      x.im[mirrored] = -im;
    }
  }
}

// Transforms `lanes` lines, whose elements are `step` apart.
void run_lanes(
    const Way& way,
    const float* in,
    float* out,
    int64_t step,
    int64_t lanes,
    int64_t in_lane_step,
    int64_t out_lane_step,
    float* scratch) {
  const FftLanes& functions = fft_functions();
  const LaneBuffers buffers(scratch, way.plan->lane_length());
  const bool inverse = way.op == FftOp::inverse_real || way.p.inverse != 0;
  if (way.op == FftOp::real) {
    functions.load_real(in, way.p.length, step, lanes, in_lane_step, buffers.a);
  } else {
    functions.load(in, way.in_length(), step, lanes, in_lane_step, buffers.a);
  }
  if (way.op == FftOp::inverse_real) {
    complete_lanes(buffers.a, way.p.length);
  }
  const LaneBuffers work =
      inverse ? LaneBuffers{exchanged(buffers.a), exchanged(buffers.b)} : buffers;
  const FftParts result = exchanged_if(inverse, transform_lanes(*way.plan, work));
  const auto scale = static_cast<float>(way.p.scale);
  if (way.op == FftOp::inverse_real) {
    functions.store_real(result, way.p.length, step, lanes, out_lane_step, scale, out);
  } else {
    functions.store(result, way.out_length(), step, lanes, out_lane_step, scale, out);
  }
}

void run_in_lanes(const Way& way, const float* in, float* out, float* scratch) {
  const FftParams& p = way.p;
  const bool are_rows = p.inner == 1; // such lines lie side by side, lanes do not
  const int64_t lines = are_rows ? p.outer : p.inner;
  const int64_t groups = are_rows ? 1 : p.outer;
  const int64_t in_size = way.op == FftOp::real ? 1 : 2;
  const int64_t out_size = way.op == FftOp::inverse_real ? 1 : 2;
  const int64_t blocks = divided_up(lines, kFftLanes);
  const int64_t units = groups * blocks;
  parallel_for(way.slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      float* memory = scratch + slot * way.lane_numbers();
      const int64_t end = units * (slot + 1) / way.slots;
      for (int64_t unit = units * slot / way.slots; unit < end; ++unit) {
        const int64_t group = unit / blocks;
        const int64_t line = unit % blocks * kFftLanes;
        const int64_t in_line = are_rows ? way.in_length() : 1;
        const int64_t out_line = are_rows ? way.out_length() : 1;
        run_lanes(
            way,
            in + in_size * (group * way.in_length() * p.inner + line * in_line),
            out + out_size * (group * way.out_length() * p.inner + line * out_line),
            p.inner,
            std::min(kFftLanes, lines - line),
            in_line,
            out_line,
            memory);
      }
    }
  });
}

bool is_empty(const FftParams& p) {
  return p.outer == 0 || p.length == 0 || p.inner == 0;
}

void run_fft(const KernelId& id, void* const* operands, const void* params, void* planned) {
  const auto& p = *static_cast<const FftParams*>(params);
  if (is_empty(p)) {
    return;
  }
  const Way way = way_of(id, p, FftTables::made);
  SmallScratch small;
  auto* scratch = reinterpret_cast<float*>(small.unless(planned));
  const auto* in = static_cast<const float*>(operands[0]);
  auto* out = static_cast<float*>(operands[1]);
  if (way.rows) {
    run_rows(way, in, out, scratch);
  } else {
    run_in_lanes(way, in, out, scratch);
  }
}

int64_t fft_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const FftParams*>(params.data());
  return is_empty(p) ? 0 : planned_scratch(way_of(id, p, FftTables::none).scratch_bytes());
}

} // namespace

const Row fft_row = {run_fft, nullptr, fft_scratch};

} // namespace narrows::cpu
