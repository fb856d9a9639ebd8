#include "metal_kernels/convolution.h"

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

constexpr int64_t kTile = 64; // places, channels and columns of a threadgroup's results
// Where groups of both sides have at most so many channels each, tiles would be nearly empty.
constexpr int64_t kFewChannels = 4;
// Weights are summed in pieces, so that there are enough threadgroups for a device, but no piece is
// shorter than this.
constexpr int64_t kEnoughGroups = 512;
constexpr int64_t kShortestPiece = 256;

std::string kernel_name(const char* kernel, Dtype dtype) {
  return concat_message("convolution_", kernel, "_", name_of(dtype));
}

bool sums_weights(const KernelId& kernel) {
  return static_cast<ConvolutionOp>(kernel.op) == ConvolutionOp::weight_gradient;
}

std::string convolution_name(const KernelId& kernel) {
  return kernel_name(sums_weights(kernel) ? "weights" : "places", kernel.in);
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
  }
  const int64_t taps = result.columns;
  const int64_t x_group = p.x_channels / p.groups;
  const int64_t y_group = p.y_channels / p.groups;
  result.direction = backward ? -1 : 1;
  result.groups = p.groups;
  result.source_channels = backward ? p.y_channels : p.x_channels;
  result.source_group = backward ? y_group : x_group;
  result.out_channels = backward ? p.x_channels : p.y_channels;
  result.out_group = backward ? x_group : y_group;
  result.columns *= result.source_group;
  result.weight_group = y_group * taps * x_group;
  result.weight_out = backward ? 1 : taps * x_group;
  result.weight_tap = x_group;
  result.weight_source = backward ? taps * x_group : 1;
  return result;
}

int64_t weight_tiles(const ConvolutionTileParams& p) {
  return divided_up(p.columns, kTile) * divided_up(p.out_group, kTile) * p.groups;
}

// The number of pieces; sets their length.
int64_t set_pieces(ConvolutionTileParams& p) {
  const int64_t wanted = divided_up(kEnoughGroups, weight_tiles(p));
  const int64_t pieces = std::clamp<int64_t>(p.rows / kShortestPiece, 1, wanted);
  p.piece_rows = divided_up(p.rows, pieces);
  return divided_up(p.rows, p.piece_rows);
}

void dispatch_weights(const Call& call, ConvolutionTileParams p, Dispatches& dispatches) {
  const int64_t pieces = set_pieces(p);
  Dispatch& first = dispatches.add(base_name(call.kernel), 3);
  first.set_places({{0}, {1}, {kScratch}});
  first.threads = kThreads;
  first.set_groups(weight_tiles(p) * pieces);
  first.set_params(p);
  Dispatch& second = dispatches.add(kernel_name("sum", call.kernel.in), 2);
  second.set_places({{kScratch}, {2}});
  const ConvolutionSumParams sum{p.out_channels * p.columns, pieces};
  second.set_threads(sum.size, kThreads);
  second.set_params(sum);
}

void dispatch_convolution(const Call& call, Dispatches& dispatches) {
  const auto op = static_cast<ConvolutionOp>(call.kernel.op);
  const ConvolutionTileParams p = tile_params(call.params_as<ConvolutionParams>(), op);
  if (sums_weights(call.kernel)) {
    dispatch_weights(call, p, dispatches);
    return;
  }
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 3);
  if (p.source_group <= kFewChannels && p.out_group <= kFewChannels) {
    dispatch.kernel = kernel_name("direct", call.kernel.in);
    dispatch.set_threads(p.rows * p.out_channels, kThreads);
  } else {
    dispatch.threads = kThreads;
    dispatch.set_groups(divided_up(p.rows, kTile) * divided_up(p.out_group, kTile) * p.groups);
  }
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
  return set_pieces(p) * p.out_channels * p.columns * item;
}

} // namespace

const Row convolution_row = {convolution_name, "", dispatch_convolution, convolution_scratch};

} // namespace narrows::gpu
