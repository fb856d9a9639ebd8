#include "metal_kernels/convolution.h"

#include <cstdlib>
#include <limits>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// Results of a threadgroup: some channels, at as many places or columns as fill the tile.
constexpr int64_t kTile = 4096;
constexpr int64_t kMostChannels = 64; // of a tile
constexpr int64_t kFewestChannels = 16;
// Where groups of both sides have at most so many channels each, tiles would be nearly empty.
constexpr int64_t kFewChannels = 4;
// Weights are summed in pieces, so that there are enough threadgroups for a device, but no piece is
// shorter than this.
constexpr int64_t kEnoughGroups = 512;
constexpr int64_t kShortestPiece = 256;

std::string kernel_name(std::string_view kernel, Dtype dtype) {
  return concat_message("convolution_", kernel, "_", name_of(dtype));
}

bool sums_weights(const KernelId& kernel) {
  return static_cast<ConvolutionOp>(kernel.op) == ConvolutionOp::weight_gradient;
}

std::string convolution_name(const KernelId& kernel) {
  return kernel_name(sums_weights(kernel) ? "weights_64" : "places_64", kernel.in);
}

ConvolutionTileParams tile_params(const ConvolutionParams& p, ConvolutionOp op) {
  const bool backward = op == ConvolutionOp::input_gradient;
  ConvolutionTileParams result{};
  result.rows = p.batch;
  result.columns = 1;
  for (int d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    result.place_size[d] = backward ? p.x_size[d] : p.y_size[d];
    result.source_size[d] = backward ? p.y_size[d] : p.x_size[d];
    result.tap_size[d] = p.w_size[d];
    result.multiplier[d] = backward ? p.x_dilation[d] : p.stride[d];
    result.divisor[d] = backward ? p.stride[d] : p.x_dilation[d];
    result.dilation[d] = p.w_dilation[d];
    result.padding[d] = p.padding[d];
    result.rows *= result.place_size[d];
    result.columns *= p.w_size[d];
    result.is_divided |= result.divisor[d] != 1;
  }
  const int64_t taps = result.columns;
  const int64_t x_group = p.x_channels / p.groups;
  const int64_t y_group = p.y_channels / p.groups;
  result.direction = backward ? -1 : 1;
  result.groups = p.groups;
  result.source_channels = backward ? p.y_channels : p.x_channels;
  result.source_group = backward ? y_group : x_group;
  result.source_entry = result.source_channels;
  for (int d = NARROWS_CONVOLUTION_PLACES; d-- > 0;) {
    result.source_stride[d] = result.source_entry;
    result.source_entry *= result.source_size[d];
  }
  result.out_channels = backward ? p.x_channels : p.y_channels;
  result.out_group = backward ? x_group : y_group;
  result.columns *= result.source_group;
  result.weight_group = y_group * taps * x_group;
  result.weight_out = backward ? 1 : taps * x_group;
  result.weight_tap = x_group;
  result.weight_source = backward ? taps * x_group : 1;
  return result;
}

// Whether coordinates may exceed 32 bits, also those a tile beyond the last row.
bool is_long(const ConvolutionTileParams& p) {
  const int64_t most = std::numeric_limits<int32_t>::max() - kTile;
  const auto fit = [&](int d) {
    // None of these products overflows 64 bits: sizes are those of arrays with these dilations.
    const int64_t place = p.place_size[d] * p.multiplier[d] + std::abs(p.padding[d]);
    return p.source_size[d] <= most && p.divisor[d] <= most && place <= most &&
           place + p.tap_size[d] * p.dilation[d] <= most;
  };
  return p.rows > most || p.columns > most || !(fit(0) && fit(1) && fit(2));
}

// A kind of tiles, and how many of them cover a group's results.
struct Tiling {
  int64_t channels; // of a tile
  int64_t count;
};

// The channels that cover the results in the fewest tiles.
Tiling tiling_of(const ConvolutionTileParams& p, Dtype dtype, int64_t others) {
  Tiling best{0, std::numeric_limits<int64_t>::max()};
  const int64_t fewest = dtype == float64 || is_long(p) ? kMostChannels : kFewestChannels;
  for (int64_t channels = kMostChannels; channels >= fewest; channels /= 2) {
    const int64_t count = divided_up(others, kTile / channels) * divided_up(p.out_group, channels);
    if (count < best.count) {
      best = {channels, count};
    }
  }
  return best;
}

std::string tiles_name(
    const char* kernel, const Tiling& tiling, const ConvolutionTileParams& p, Dtype dtype) {
  return kernel_name(
      concat_message(kernel, "_", tiling.channels, is_long(p) ? "_long" : ""), dtype);
}

// Sets what depends on where the operands lie.
void set_alignment(const Call& call, ConvolutionTileParams& p) {
  const auto bytes = static_cast<std::uintptr_t>(4 * size_of(call.kernel.in));
  p.in_fours =
      p.source_group % 4 == 0 && p.source_channels % 4 == 0 && call.addresses[0] % bytes == 0;
}

// The number of pieces; sets their length.
int64_t set_pieces(const Tiling& tiling, ConvolutionTileParams& p) {
  const int64_t wanted = divided_up(kEnoughGroups, tiling.count * p.groups);
  const int64_t pieces = std::clamp<int64_t>(p.rows / kShortestPiece, 1, wanted);
  p.piece_rows = divided_up(p.rows, pieces);
  return divided_up(p.rows, p.piece_rows);
}

void dispatch_weights(const Call& call, ConvolutionTileParams p, Dispatches& dispatches) {
  const Tiling tiling = tiling_of(p, call.kernel.in, p.columns);
  const int64_t pieces = set_pieces(tiling, p);
  Dispatch& first = dispatches.add(tiles_name("weights", tiling, p, call.kernel.in), 3);
  first.set_places({{0}, {1}, {kScratch}});
  first.threads = kThreads;
  first.set_groups(tiling.count * p.groups * pieces);
  first.set_params(p);
  Dispatch& second = dispatches.add(kernel_name("sum", call.kernel.in), 2);
  second.set_places({{kScratch}, {2}});
  const ConvolutionSumParams sum{p.out_channels * p.columns, pieces};
  second.set_threads(sum.size, kThreads);
  second.set_params(sum);
}

void dispatch_convolution(const Call& call, Dispatches& dispatches) {
  const auto op = static_cast<ConvolutionOp>(call.kernel.op);
  ConvolutionTileParams p = tile_params(call.params_as<ConvolutionParams>(), op);
  set_alignment(call, p);
  if (sums_weights(call.kernel)) {
    dispatch_weights(call, p, dispatches);
    return;
  }
  const Dtype dtype = call.kernel.in;
  if (p.source_group <= kFewChannels && p.out_group <= kFewChannels) {
    Dispatch& dispatch =
        dispatches.add(kernel_name(is_long(p) ? "direct_long" : "direct", dtype), 3);
    dispatch.set_threads(p.rows * p.out_channels, kThreads);
    dispatch.set_params(p);
    return;
  }
  const Tiling tiling = tiling_of(p, dtype, p.rows);
  Dispatch& dispatch = dispatches.add(tiles_name("places", tiling, p, dtype), 3);
  dispatch.threads = kThreads;
  dispatch.set_groups(tiling.count * p.groups);
  dispatch.set_params(p);
}

// The bytes of the pieces' sums of weights.
int64_t convolution_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  if (!sums_weights(kernel)) {
    return 0;
  }
  const auto given = Call{kernel, {}, params}.params_as<ConvolutionParams>();
  ConvolutionTileParams p = tile_params(given, ConvolutionOp::weight_gradient);
  const int64_t item = is_half(kernel.in) ? size_of(float32) : size_of(kernel.in);
  return set_pieces(tiling_of(p, kernel.in, p.columns), p) * p.out_channels * p.columns * item;
}

} // namespace

const Row convolution_row = {convolution_name, "", dispatch_convolution, convolution_scratch};

} // namespace narrows::gpu
