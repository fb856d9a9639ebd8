// Convolutions of images with few channels, in place of library calls: each thread copies rows of
// the source with a margin of zeros, and sums what filters see in registers.
#include <algorithm>
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
constexpr int64_t kAlignment = 16; // elements

int64_t aligned(int64_t elements) {
  return divided_up(elements, kAlignment) * kAlignment;
}

// A convolution as sums over places of a padded source. The input's gradient is the convolution of
// the cotangents with the filter turned around.
struct Plan {
  bool is_gradient;       // of the input
  int64_t channels;       // of the source
  int64_t results;        // channels of what is summed into, or of y for weights
  int64_t source_size[2]; // rows and columns
  int64_t place_size[2];  // of the places that filters lie at
  int64_t filter[2];
  int64_t stride[2];
  int64_t padding[2];
  int64_t batch;
  int64_t band; // rows of places
  int64_t lanes;

  explicit Plan(const ConvolutionCall& call)
      : is_gradient(call.op == ConvolutionOp::input_gradient) {
    const ConvolutionParams& p = call.params;
    channels = is_gradient ? p.y_channels : p.x_channels;
    results = is_gradient ? p.x_channels : p.y_channels;
    batch = p.batch;
    for (int i = 0; i < 2; ++i) {
      const int d = kRow + i;
      source_size[i] = is_gradient ? p.y_size[d] : p.x_size[d];
      place_size[i] = is_gradient ? p.x_size[d] : p.y_size[d];
      filter[i] = p.w_size[d];
      stride[i] = p.stride[d];
      padding[i] = is_gradient ? p.w_size[d] - 1 - p.padding[d] : p.padding[d];
    }
    lanes = convolution_tile().lanes;
    const int64_t fitting = kBandElements / std::max<int64_t>(1, row_elements());
    const int64_t most = (fitting - filter[0]) / stride[0] + 1;
    // Threads get as many bands.
    const int64_t wanted = divided_up(thread_count(), std::max<int64_t>(1, batch));
    band = std::clamp<int64_t>(
        std::min(most, divided_up(place_size[0], wanted)), 1, std::max<int64_t>(1, place_size[0]));
  }

  int64_t padded_columns() const {
    return (place_size[1] - 1) * stride[1] + filter[1];
  }
  int64_t row_elements() const {
    return padded_columns() * channels;
  }
  int64_t padded_rows(int64_t places) const {
    return (places - 1) * stride[0] + filter[0];
  }
  int64_t bands() const {
    return divided_up(place_size[0], band);
  }
  int64_t slots() const {
    return std::min<int64_t>(thread_count(), batch * bands());
  }
  int64_t weight_elements() const {
    return filter[0] * filter[1] * channels * results;
  }
  int64_t band_elements() const {
    return aligned(padded_rows(band) * row_elements());
  }
  // Columns of a block of weights: those of two vectors, or of the last one.
  int64_t block_columns(int64_t column, int64_t columns) const {
    return std::min(2 * lanes, columns - column);
  }
  int vectors_of(int64_t columns) const {
    return static_cast<int>(columns / lanes);
  }
};

// Copies the source's rows that places [first, last) see, with zeros around them.
void copy_band(const Plan& plan, const float* image, int64_t first, int64_t last, float* to) {
  const int64_t n = plan.channels;
  const int64_t columns = plan.padded_columns();
  const int64_t left = std::min(plan.padding[1], columns);
  const int64_t copied = std::min(plan.source_size[1], columns - left);
  for (int64_t row = 0; row < plan.padded_rows(last - first); ++row, to += columns * n) {
    const int64_t from = first * plan.stride[0] + row - plan.padding[0];
    if (from < 0 || from >= plan.source_size[0]) {
      std::fill_n(to, columns * n, 0.0F);
      continue;
    }
    std::fill_n(to, left * n, 0.0F);
    std::copy_n(image + from * plan.source_size[1] * n, copied * n, to + left * n);
    std::fill_n(to + (left + copied) * n, (columns - left - copied) * n, 0.0F);
  }
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
        f(task / plan.bands(), first, std::min(first + plan.band, plan.place_size[0]), slot);
      }
    }
  });
}

// Weights in the order in which they are read: blocks of columns, each with all elements of the
// filter, all channels of the source and the block's columns.
void pack_weights(const Plan& plan, const float* weights, float* to) {
  const int64_t taps = plan.filter[0] * plan.filter[1];
  for (int64_t column = 0; column < plan.results; column += 2 * plan.lanes) {
    const int64_t columns = plan.block_columns(column, plan.results);
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < plan.channels; ++c, to += columns) {
        for (int64_t j = 0; j < columns; ++j) {
          to[j] = plan.is_gradient
                      ? weights[(c * taps + taps - 1 - tap) * plan.results + column + j]
                      : weights[((column + j) * taps + tap) * plan.channels + c];
        }
      }
    }
  }
}

void sum_places(
    const Plan& plan, const float* source, const float* weights, float* out, float* scratch) {
  const ConvolutionTile tile = convolution_tile();
  float* packed = scratch;
  float* bands = scratch + aligned(plan.weight_elements());
  pack_weights(plan, weights, packed);
  const int64_t depth = plan.filter[1] * plan.channels;
  const int64_t image_size = plan.source_size[0] * plan.source_size[1] * plan.channels;
  each_band(plan, [&](int64_t image, int64_t first, int64_t last, int64_t slot) {
    float* band = bands + slot * plan.band_elements();
    copy_band(plan, source + image * image_size, first, last, band);
    for (int64_t row = first; row < last; ++row) {
      ConvolutionSums sums{};
      sums.left = band + (row - first) * plan.stride[0] * plan.row_elements();
      sums.left_row = plan.stride[1] * plan.channels;
      sums.left_outer = plan.row_elements();
      sums.left_inner = 1;
      sums.outer = plan.filter[0];
      sums.inner = depth;
      sums.out_row = plan.results;
      sums.rows = plan.place_size[1];
      float* to = out + (image * plan.place_size[0] + row) * plan.place_size[1] * plan.results;
      for (int64_t column = 0; column < plan.results; column += 2 * plan.lanes) {
        const int64_t columns = plan.block_columns(column, plan.results);
        sums.right = packed + column * plan.filter[0] * depth;
        sums.right_outer = depth * columns;
        sums.right_inner = columns;
        sums.out = to + column;
        tile.sum(sums, plan.vectors_of(columns));
      }
    }
  });
}

// Adds the products of rows [first, last) of y and what filters see of the band there.
void add_weights(const Plan& plan, const float* band, const float* y, int64_t rows, float* out) {
  const ConvolutionTile tile = convolution_tile();
  const int64_t width = plan.filter[1] * plan.channels;
  ConvolutionSums sums{};
  sums.left = y;
  sums.left_row = 1;
  sums.left_outer = plan.place_size[1] * plan.results;
  sums.left_inner = plan.results;
  sums.right_outer = plan.stride[0] * plan.row_elements();
  sums.right_inner = plan.stride[1] * plan.channels;
  sums.outer = rows;
  sums.inner = plan.place_size[1];
  sums.out_row = plan.filter[0] * width;
  sums.rows = plan.results;
  sums.adds = true;
  for (int64_t i = 0; i < plan.filter[0]; ++i) {
    for (int64_t column = 0; column < width; column += 2 * plan.lanes) {
      sums.right = band + i * plan.row_elements() + column;
      sums.out = out + i * width + column;
      tile.sum(sums, plan.vectors_of(plan.block_columns(column, width)));
    }
  }
}

void sum_weights(const Plan& plan, const float* x, const float* y, float* out, float* scratch) {
  const int64_t size = aligned(plan.weight_elements());
  const int64_t slots = plan.slots();
  float* bands = scratch + slots * size;
  std::fill_n(scratch, slots * size, 0.0F);
  const int64_t y_row = plan.place_size[1] * plan.results;
  const int64_t chunk = std::max<int64_t>(1, kChunkElements / (plan.row_elements() + y_row));
  const int64_t image_size = plan.source_size[0] * plan.source_size[1] * plan.channels;
  each_band(plan, [&](int64_t image, int64_t first, int64_t last, int64_t slot) {
    float* band = bands + slot * plan.band_elements();
    copy_band(plan, x + image * image_size, first, last, band);
    for (int64_t row = first; row < last; row += chunk) {
      add_weights(
          plan,
          band + (row - first) * plan.stride[0] * plan.row_elements(),
          y + (image * plan.place_size[0] + row) * y_row,
          std::min(chunk, last - row),
          scratch + slot * size);
    }
  });
  for (int64_t i = 0; i < plan.weight_elements(); ++i) {
    float sum = scratch[i];
    for (int64_t slot = 1; slot < slots; ++slot) {
      sum += scratch[slot * size + i];
    }
    out[i] = sum;
  }
}

} // namespace

bool prefers(const ConvolutionCall& call) {
  const ConvolutionParams& p = call.params;
  const bool is_image = p.x_size[0] == 1 && p.y_size[0] == 1 && p.w_size[0] == 1 &&
                        p.padding[0] == 0 && p.stride[0] == 1;
  if (cpu_isa_level() != 3 || call.dtype != Dtype::float32 || p.groups != 1 || !is_image ||
      p.batch == 0) {
    return false;
  }
  for (int d = kRow; d <= kColumn; ++d) {
    if (p.x_dilation[d] != 1 || p.w_dilation[d] != 1 || p.w_size[d] < 2 || p.w_size[d] > 5 ||
        p.padding[d] < 0 || p.padding[d] >= p.w_size[d] || p.x_size[d] == 0 || p.y_size[d] == 0 ||
        (call.op == ConvolutionOp::input_gradient && p.stride[d] != 1)) {
      return false;
    }
  }
  const auto fits = [](int64_t n) {
    return n >= kLeastChannels && n <= kMostChannels && n % kLeastChannels == 0;
  };
  return fits(p.x_channels) && fits(p.y_channels) &&
         Plan(call).padded_rows(1) * Plan(call).row_elements() <= kBandElements;
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
