// Convolutions: chooses one of the ways in convolution.h for a call.
#include "narrows/backend/cpu/convolution.h"

#include "narrows/backend/cpu/kernels.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

ConvolutionCall call_of(const KernelId& id, const void* params) {
  return {static_cast<ConvolutionOp>(id.op), id.in, *static_cast<const ConvolutionParams*>(params)};
}

// Products of tiles are faster than oneDNN in three cases: for weights with at least so many
// columns and channels (with fewer, gathering costs more than multiplying); for filters of one
// element, for which nothing is gathered; and for filters that are many compared with the places,
// because oneDNN writes all of them in its own order.
constexpr int64_t kManyColumns = 256;
constexpr int64_t kManyChannels = 32;
constexpr int64_t kFewPlaces = 512;
constexpr int64_t kLongColumns = 1024;

bool prefers_tiles(const ConvolutionCall& call) {
  const ConvolutionParams& p = call.params;
  int64_t filter = 1;
  int64_t places = p.batch;
  bool are_points = true;
  for (int d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    filter *= p.w_size[d];
    places *= p.y_size[d];
    are_points &= p.w_size[d] == 1 && p.stride[d] == 1 && p.padding[d] == 0;
  }
  const int64_t columns = filter * (p.x_channels / p.groups);
  const int64_t channels = p.y_channels / p.groups;
  if (call.dtype != Dtype::float32 || channels < kManyChannels) {
    return false;
  }
  switch (call.op) {
    case ConvolutionOp::forward:
      return (are_points && columns >= kManyChannels) ||
             (places <= kFewPlaces && columns >= kLongColumns);
    case ConvolutionOp::weight_gradient:
      return columns >= kManyColumns || (are_points && columns >= kManyChannels);
    default:
      return false;
  }
}

// oneDNN's code for a call, or nullptr where products of tiles are faster.
std::shared_ptr<const onednn::Convolution> prepare(const ConvolutionCall& call) {
  return prefers_tiles(call) ? nullptr : onednn::prepare(call, thread_count());
}

void run_convolution(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const ConvolutionCall call = call_of(id, params);
  if (direct::prefers(call)) {
    direct::run(call, operands[0], operands[1], operands[2], scratch);
  } else if (const auto prepared = prepare(call)) {
    prepared->run(operands[0], operands[1], operands[2], scratch);
  } else {
    tiled_convolution(call, operands[0], operands[1], operands[2], scratch);
  }
}

int64_t convolution_scratch(const KernelId& id, std::span<const std::byte> params) {
  const ConvolutionCall call = call_of(id, params.data());
  if (direct::prefers(call)) {
    return direct::scratch_bytes(call);
  }
  const auto prepared = prepare(call);
  return prepared ? prepared->scratch_bytes() : tiled_convolution_scratch(call);
}

} // namespace

const Row convolution_row = {
    run_convolution, [](const KernelId& id) { return is_floating(id.in); }, convolution_scratch};

} // namespace narrows::cpu
