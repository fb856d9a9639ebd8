// Convolutions of images with few channels, in place of library calls: each thread copies rows of
// the source with a margin of zeros, and sums what filters see in registers.
#include <algorithm>
#include <array>
#include <cstring>

#include "narrows/backend/cpu/convolution.h"
#include "narrows/backend/cpu/kernels/convolution_sums.h"
#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

ConvolutionTile convolution_tile() {
  return NARROWS_AT_BEST_ISA(convolution_tile());
}

namespace direct {
namespace {

constexpr int kRow = 1;                     // the dimension of places along which bands are cut
constexpr int kColumn = 2;                  // the contiguous one
constexpr int64_t kBandElements = 24 << 10; // of the copied source: in the second cache
constexpr int64_t kChunkElements = 5 << 10; // of what weights are summed from: in the first
constexpr int64_t kMostChannels = 64;
constexpr int64_t kLeastChannels = 16;
constexpr int64_t kMostFilter = 7;
constexpr int64_t kMostStride = 4;
constexpr int64_t kAlignment = 16; // elements

int64_t aligned(int64_t elements) {
  return divided_up(elements, kAlignment) * kAlignment;
}

// Places along one dimension that see the same elements of the filter. Usually these are all
// places. In the gradient of an input that is read with a stride, there are as many phases as the
// stride.
struct Phase {
  int64_t first; // place
  int64_t step;  // between places
  int64_t count; // of places
  int64_t seen;  // the first row or column of the source that the first place sees, or less than 0
  int64_t seen_step;
  int64_t first_tap; // the element of the filter for what is seen first
  int64_t tap_step;
  int64_t taps;
  int64_t taps_before; // in earlier phases

  int64_t seen_at(int64_t place) const {
    return seen + (place - first) / step * seen_step;
  }
};

// One dimension of a convolution as sums over what places see of a source.
struct Axis {
  int64_t source; // rows or columns of the source
  int64_t places;
  int64_t filter;
  int64_t phase_count;
  std::array<Phase, kMostStride> phases;
  int64_t margin; // zeros in front of the source
  int64_t extent; // of what places see, with that margin

  Axis(const ConvolutionParams& p, int d, bool is_gradient)
      : source(is_gradient ? p.y_size[d] : p.x_size[d]),
        places(is_gradient ? p.x_size[d] : p.y_size[d]),
        filter(p.w_size[d]),
        phase_count(is_gradient ? p.stride[d] : 1) {
    if (is_gradient) {
      set_gradient_phases(p.stride[d], p.padding[d]);
    } else {
      phases[0] = {0, 1, places, -p.padding[d], p.stride[d], 0, 1, filter, 0};
    }
    margin = 0;
    int64_t end = 0;
    for (int64_t i = 0; i < phase_count; ++i) {
      const Phase& phase = phases[i];
      if (phase.count > 0 && phase.taps > 0) {
        margin = std::max(margin, -phase.seen);
        end = std::max(end, phase.seen + (phase.count - 1) * phase.seen_step + phase.taps);
      }
    }
    extent = margin + end;
  }

  // A place sees its taps in the opposite order: y moves backwards along the filter.
  void set_gradient_phases(int64_t stride, int64_t padding) {
    int64_t before = 0;
    for (int64_t i = 0; i < stride; ++i) {
      const int64_t first = ((i - padding) % stride + stride) % stride;
      const int64_t count = divided_up(std::max<int64_t>(0, places - first), stride);
      const int64_t taps = divided_up(std::max<int64_t>(0, filter - i), stride);
      const int64_t seen = (first + padding - i) / stride - taps + 1;
      const int64_t first_tap = i + (taps - 1) * stride;
      phases[i] = {first, stride, count, seen, 1, first_tap, -stride, taps, before};
      before += taps;
    }
  }

  bool needs_margin() const {
    return margin > 0 || extent > source;
  }
  // Places next to each other are in different phases, by turns.
  int64_t phase_of(int64_t place) const {
    int64_t i = 0;
    while ((place - phases[i].first) % phases[i].step != 0) {
      ++i;
    }
    return i;
  }
};

struct Range {
  int64_t begin;
  int64_t end;
};

// A convolution as sums over places of a padded source. For the input's gradient the source is the
// cotangent of y.
struct Plan {
  bool is_gradient; // of the input
  int64_t channels; // of the source
  int64_t results;  // channels of what is summed into, or of y for weights
  int64_t batch;
  Axis rows;
  Axis columns;
  int64_t band; // rows of places
  int64_t lanes;

  explicit Plan(const ConvolutionCall& call)
      : is_gradient(call.op == ConvolutionOp::input_gradient),
        channels(is_gradient ? call.params.y_channels : call.params.x_channels),
        results(is_gradient ? call.params.x_channels : call.params.y_channels),
        batch(call.params.batch),
        rows(call.params, kRow, is_gradient),
        columns(call.params, kColumn, is_gradient),
        lanes(convolution_tile().lanes) {
    // Threads get as many bands.
    const int64_t wanted = divided_up(thread_count(), std::max<int64_t>(1, batch));
    band = divided_up(rows.places, wanted);
    while (band > 1 && seen_rows(band) * row_elements() > kBandElements) {
      --band;
    }
  }

  // Whether the source is read where it lies.
  bool is_in_place() const {
    return !rows.needs_margin() && !columns.needs_margin();
  }
  int64_t row_elements() const {
    return (is_in_place() ? columns.source : columns.extent) * channels;
  }
  // The most rows of the source that so many rows of places see.
  int64_t seen_rows(int64_t places) const {
    const Phase& phase = rows.phases[0];
    return divided_up(places - 1, phase.step) * phase.seen_step +
           divided_up(rows.filter, phase.step);
  }
  // Rows of the source that places [first, last) see. They may lie outside of it.
  Range seen_rows(int64_t first, int64_t last) const {
    Range seen{rows.source, rows.source};
    bool is_empty = true;
    for (int64_t place = first; place < last; ++place) {
      const Phase& phase = rows.phases[rows.phase_of(place)];
      if (phase.taps > 0) {
        const int64_t begin = phase.seen_at(place);
        seen.begin = is_empty ? begin : std::min(seen.begin, begin);
        seen.end = is_empty ? begin + phase.taps : std::max(seen.end, begin + phase.taps);
        is_empty = false;
      }
    }
    return seen;
  }
  int64_t bands() const {
    return divided_up(rows.places, band);
  }
  int64_t slots() const {
    return std::min<int64_t>(thread_count(), batch * bands());
  }
  int64_t weight_elements() const {
    return rows.filter * columns.filter * channels * results;
  }
  int64_t band_elements() const {
    return is_in_place() ? 0 : aligned(seen_rows(band) * row_elements());
  }
  // Columns of a block of results: those of two vectors, or of the last one.
  int64_t block_columns(int64_t column) const {
    return std::min(2 * lanes, results - column);
  }
  int vectors_of(int64_t block) const {
    return static_cast<int>(block / lanes);
  }
};

// Rows of a source with their margin.
struct Band {
  const float* data;
  int64_t first; // row of the source
};

// What places [first, last) see of an image, copied to `to` if it needs zeros around it.
Band take_band(const Plan& plan, const float* image, int64_t first, int64_t last, float* to) {
  if (plan.is_in_place()) {
    return {image, 0};
  }
  const Range seen = plan.seen_rows(first, last);
  const int64_t n = plan.channels;
  const int64_t columns = plan.columns.extent;
  const int64_t left = plan.columns.margin;
  const int64_t copied = std::min(plan.columns.source, columns - left);
  float* row = to;
  for (int64_t from = seen.begin; from < seen.end; ++from, row += columns * n) {
    if (from < 0 || from >= plan.rows.source) {
      std::fill_n(row, columns * n, 0.0F);
      continue;
    }
    std::fill_n(row, left * n, 0.0F);
    std::copy_n(image + from * plan.columns.source * n, copied * n, row + left * n);
    std::fill_n(row + (left + copied) * n, (columns - left - copied) * n, 0.0F);
  }
  return {to, seen.begin};
}

// Calls f(image, first row of places, last row, slot) for all bands.
template <typename F>
void each_band(const Plan& plan, F&& f) {
  const int64_t tasks = plan.batch * plan.bands();
  const int64_t slots = plan.slots();
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      for (int64_t task = tasks * slot / slots; task < tasks * (slot + 1) / slots; ++task) {
        const int64_t first = task % plan.bands() * plan.band;
        f(task / plan.bands(), first, std::min(first + plan.band, plan.rows.places), slot);
      }
    }
  });
}

// Weights in the order in which they are read: for each phase of rows and of columns, blocks of
// results, each with all elements of the filter that the phase sees, all channels of the source and
// the block's results.
class PackedWeights {
 public:
  PackedWeights(const Plan& plan, const float* weights, float* to)
      : plan_(plan), weights_(weights), packed_(to) {
    for (int64_t i = 0; i < plan.rows.phase_count; ++i) {
      for (int64_t j = 0; j < plan.columns.phase_count; ++j) {
        to = pack(plan.rows.phases[i], plan.columns.phases[j], to);
      }
    }
  }

  const float* of(const Phase& rows, const Phase& columns, int64_t result) const {
    const int64_t before =
        rows.taps_before * plan_.columns.filter + rows.taps * columns.taps_before;
    const int64_t taps = rows.taps * columns.taps;
    return packed_ + (before * plan_.results + taps * result) * plan_.channels;
  }

 private:
  float* pack(const Phase& rows, const Phase& columns, float* to) const {
    for (int64_t result = 0; result < plan_.results; result += 2 * plan_.lanes) {
      for (int64_t i = 0; i < rows.taps; ++i) {
        for (int64_t j = 0; j < columns.taps; ++j) {
          const int64_t row = rows.first_tap + i * rows.tap_step;
          const int64_t tap = row * plan_.columns.filter + columns.first_tap + j * columns.tap_step;
          to = pack_tap(tap, result, to);
        }
      }
    }
    return to;
  }
  float* pack_tap(int64_t tap, int64_t result, float* to) const {
    const int64_t taps = plan_.rows.filter * plan_.columns.filter;
    const int64_t block = plan_.block_columns(result);
    for (int64_t c = 0; c < plan_.channels; ++c, to += block) {
      for (int64_t j = 0; j < block; ++j) {
        to[j] = plan_.is_gradient ? weights_[(c * taps + tap) * plan_.results + result + j]
                                  : weights_[((result + j) * taps + tap) * plan_.channels + c];
      }
    }
    return to;
  }

  const Plan& plan_;
  const float* weights_;
  float* packed_;
};

// The sums of one row of places.
void sum_row(
    const Plan& plan, const Band& band, const PackedWeights& weights, int64_t place, float* out) {
  const ConvolutionTile tile = convolution_tile();
  const Phase& rows = plan.rows.phases[plan.rows.phase_of(place)];
  const int64_t row = rows.seen_at(place) - band.first;
  ConvolutionSums sums{};
  sums.left_outer = plan.row_elements();
  sums.left_inner = 1;
  for (int64_t i = 0; i < plan.columns.phase_count; ++i) {
    const Phase& columns = plan.columns.phases[i];
    const int64_t column = columns.seen + (plan.is_in_place() ? 0 : plan.columns.margin);
    const bool sees = rows.taps > 0 && columns.taps > 0; // otherwise the sums are zero
    sums.left = sees ? band.data + row * plan.row_elements() + column * plan.channels : band.data;
    sums.left_row = columns.seen_step * plan.channels;
    sums.outer = sees ? rows.taps : 0;
    sums.inner = columns.taps * plan.channels;
    sums.out_row = columns.step * plan.results;
    sums.rows = columns.count;
    for (int64_t result = 0; result < plan.results; result += 2 * plan.lanes) {
      const int64_t block = plan.block_columns(result);
      sums.right = weights.of(rows, columns, result);
      sums.right_outer = sums.inner * block;
      sums.right_inner = block;
      sums.out = out + columns.first * plan.results + result;
      tile.sum(sums, plan.vectors_of(block));
    }
  }
}

void sum_places(
    const Plan& plan, const float* source, const float* weights, float* out, float* scratch) {
  float* bands = scratch + aligned(plan.weight_elements());
  const PackedWeights packed(plan, weights, scratch);
  const int64_t image_size = plan.rows.source * plan.columns.source * plan.channels;
  each_band(plan, [&](int64_t image, int64_t first, int64_t last, int64_t slot) {
    const Band band = take_band(
        plan, source + image * image_size, first, last, bands + slot * plan.band_elements());
    for (int64_t row = first; row < last; ++row) {
      const int64_t place = (image * plan.rows.places + row) * plan.columns.places;
      sum_row(plan, band, packed, row, out + place * plan.results);
    }
  });
}

// Adds the products of what filters see from `seen` on and of `rows` rows of y. Sums have the
// channels of y last.
void add_weights(const Plan& plan, const float* seen, const float* y, int64_t rows, float* out) {
  const ConvolutionTile tile = convolution_tile();
  const int64_t width = plan.columns.filter * plan.channels;
  ConvolutionSums sums{};
  sums.left_row = 1;
  sums.left_outer = plan.rows.phases[0].seen_step * plan.row_elements();
  sums.left_inner = plan.columns.phases[0].seen_step * plan.channels;
  sums.right_outer = plan.columns.places * plan.results;
  sums.right_inner = plan.results;
  sums.outer = rows;
  sums.inner = plan.columns.places;
  sums.out_row = plan.results;
  sums.rows = width;
  sums.adds = true;
  for (int64_t i = 0; i < plan.rows.filter; ++i) {
    sums.left = seen + i * plan.row_elements();
    for (int64_t result = 0; result < plan.results; result += 2 * plan.lanes) {
      sums.right = y + result;
      sums.out = out + i * width * plan.results + result;
      tile.sum(sums, plan.vectors_of(plan.block_columns(result)));
    }
  }
}

void sum_weights(const Plan& plan, const float* x, const float* y, float* out, float* scratch) {
  const int64_t size = aligned(plan.weight_elements());
  const int64_t slots = plan.slots();
  float* bands = scratch + slots * size;
  std::fill_n(scratch, slots * size, 0.0F);
  const int64_t y_row = plan.columns.places * plan.results;
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / (plan.row_elements() + y_row));
  const int64_t image_size = plan.rows.source * plan.columns.source * plan.channels;
  each_band(plan, [&](int64_t image, int64_t first, int64_t last, int64_t slot) {
    const Band band =
        take_band(plan, x + image * image_size, first, last, bands + slot * plan.band_elements());
    for (int64_t row = first; row < last; row += chunk) {
      add_weights(
          plan,
          band.data + (plan.rows.phases[0].seen_at(row) - band.first) * plan.row_elements(),
          y + (image * plan.rows.places + row) * y_row,
          std::min(chunk, last - row),
          scratch + slot * size);
    }
  });
  // All are added in the same order, and channels of y come first.
  const int64_t seen = plan.weight_elements() / plan.results;
  for (int64_t i = 0; i < seen; ++i) {
    for (int64_t j = 0; j < plan.results; ++j) {
      float sum = 0;
      for (int64_t slot = 0; slot < slots; ++slot) {
        sum += scratch[slot * size + i * plan.results + j];
      }
      out[j * seen + i] = sum;
    }
  }
}

} // namespace

bool prefers(const ConvolutionCall& call) {
  const ConvolutionParams& p = call.params;
  const bool is_image = p.x_size[0] == 1 && p.y_size[0] == 1 && p.w_size[0] == 1 &&
                        p.padding[0] == 0 && p.stride[0] == 1;
  if (cpu_isa_level() < 3 || call.dtype != Dtype::float32 || p.groups != 1 || !is_image ||
      p.batch == 0) {
    return false;
  }
  bool are_points = true; // then this is one product of matrices
  for (int d = kRow; d <= kColumn; ++d) {
    if (p.x_dilation[d] != 1 || p.w_dilation[d] != 1 || p.w_size[d] < 1 ||
        p.w_size[d] > kMostFilter || p.stride[d] > kMostStride || p.padding[d] < 0 ||
        p.padding[d] >= p.w_size[d] || p.x_size[d] == 0 || p.y_size[d] == 0) {
      return false;
    }
    are_points &= p.w_size[d] == 1 && p.stride[d] == 1;
  }
  if (are_points) {
    return false;
  }
  const Plan plan(call);
  return plan.results >= kLeastChannels && plan.results <= kMostChannels &&
         plan.results % kLeastChannels == 0 && plan.channels >= 1 &&
         plan.channels <= kMostChannels && plan.seen_rows(1) * plan.row_elements() <= kBandElements;
}

int64_t scratch_bytes(const ConvolutionCall& call) {
  const Plan plan(call);
  const bool is_weights = call.op == ConvolutionOp::weight_gradient;
  const int64_t copies = is_weights ? plan.slots() : 1;
  return (copies * aligned(plan.weight_elements()) + plan.slots() * plan.band_elements()) *
         int64_t{sizeof(float)};
}

void run(const ConvolutionCall& call, const void* a, const void* b, void* out, void* scratch) {
  const auto* first = static_cast<const float*>(a);
  const auto* second = static_cast<const float*>(b);
  const auto sum = call.op == ConvolutionOp::weight_gradient ? sum_weights : sum_places;
  sum(Plan(call), first, second, static_cast<float*>(out), static_cast<float*>(scratch));
}

} // namespace direct
} // namespace narrows::cpu
