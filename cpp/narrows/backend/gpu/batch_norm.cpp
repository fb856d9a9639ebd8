#include <algorithm>

#include "metal_kernels/batch_norm.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// As in batch_norm.metal.
constexpr int64_t kBatchNormThreads = 256;
constexpr int64_t kRowsInFlight = 4;
// More threadgroups than these would have sums of few rows.
constexpr int64_t kMostSums = 256;
// Passes that write have nothing to combine, so they may have more.
constexpr int64_t kMostPasses = 2048;

std::string batch_norm_name(const KernelId& kernel) {
  return concat_message(name_of(kernel.family), "_", name_of(kernel.in));
}

// The parts of at most so many threadgroups. `wide` threads have four channels each.
BatchNormParts parts_of(const BatchNormParams& p, bool wide, int64_t most_groups) {
  const int64_t columns = wide ? p.channels / 4 : p.channels;
  const int64_t blocks = divided_up(columns, kBatchNormThreads);
  const int64_t width = divided_up(columns, blocks);
  const int64_t at_once = kBatchNormThreads / width * kRowsInFlight;
  const int64_t wanted = std::max<int64_t>(1, most_groups / blocks);
  const int64_t rows = divided_up(divided_up(p.rows, wanted), at_once) * at_once;
  BatchNormParts parts{};
  parts.rows = p.rows;
  parts.channels = p.channels;
  parts.piece_rows = rows;
  parts.pieces = static_cast<int32_t>(divided_up(p.rows, rows));
  parts.blocks = static_cast<int32_t>(blocks);
  parts.width = static_cast<int32_t>(width);
  parts.eps = p.eps;
  return parts;
}

// Scratch: three numbers of each channel, then two for each piece of the rows.
int64_t part_bytes(const BatchNormParams& p) {
  return 3 * p.channels * size_of(float32);
}

bool is_wide(const Call& call, const BatchNormParams& p, std::initializer_list<size_t> operands) {
  return p.channels % 4 == 0 && std::all_of(operands.begin(), operands.end(), [&](size_t i) {
           return is_aligned(call.addresses[i]);
         });
}

Dispatch& add_pass(
    const Call& call,
    Dispatches& dispatches,
    const char* pass,
    bool wide,
    const BatchNormParts& parts,
    std::initializer_list<Place> places) {
  Dispatch& dispatch = dispatches.add(base_name(call.kernel) + pass, 0);
  if (wide) {
    dispatch.kernel += "_wide";
  }
  dispatch.set_places(places);
  dispatch.threads = kBatchNormThreads;
  dispatch.set_groups(int64_t{parts.pieces} * parts.blocks);
  dispatch.set_params(parts);
  return dispatch;
}

// Combines the pieces, a simdgroup for each channel. It writes the last three places.
void add_finish(
    const Call& call,
    Dispatches& dispatches,
    const BatchNormParts& parts,
    std::initializer_list<Place> places) {
  Dispatch& dispatch = add_pass(call, dispatches, "_finish", false, parts, places);
  dispatch.written = 3;
  dispatch.set_groups(divided_up(parts.channels, kBatchNormThreads / kLanes));
}

void dispatch_batch_norm(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<BatchNormParams>();
  const Place sums{kScratch, part_bytes(p)};
  const bool wide_sums = is_wide(call, p, {0});
  const BatchNormParts parts = parts_of(p, wide_sums, kMostSums);
  add_pass(call, dispatches, "_moments", wide_sums, parts, {{0}, sums});
  add_finish(call, dispatches, parts, {sums, {1}, {kScratch}, {4}, {5}});
  const bool wide = is_wide(call, p, {0, 3});
  add_pass(
      call,
      dispatches,
      "_apply",
      wide,
      parts_of(p, wide, kMostPasses),
      {{0}, {4}, {kScratch}, {2}, {3}});
}

void dispatch_batch_norm_gradient(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<BatchNormParams>();
  const Place sums{kScratch, part_bytes(p)};
  const bool wide_sums = is_wide(call, p, {0, 1});
  const BatchNormParts parts = parts_of(p, wide_sums, kMostSums);
  add_pass(call, dispatches, "_sums", wide_sums, parts, {{0}, {1}, {3}, sums});
  add_finish(call, dispatches, parts, {sums, {2}, {4}, {kScratch}, {6}, {7}});
  const bool wide = is_wide(call, p, {0, 1, 5});
  add_pass(
      call,
      dispatches,
      "_apply",
      wide,
      parts_of(p, wide, kMostPasses),
      {{0}, {1}, {3}, {kScratch}, {5}});
}

// For as many pieces as operands of any alignment have.
int64_t batch_norm_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<BatchNormParams>();
  int64_t pieces = parts_of(p, false, kMostSums).pieces;
  if (p.channels % 4 == 0) {
    pieces = std::max<int64_t>(pieces, parts_of(p, true, kMostSums).pieces);
  }
  return part_bytes(p) + pieces * 2 * p.channels * size_of(float32);
}

} // namespace

const Row batch_norm_row = {batch_norm_name, "_moments", dispatch_batch_norm, batch_norm_scratch};
const Row batch_norm_gradient_row = {
    batch_norm_name, "_sums", dispatch_batch_norm_gradient, batch_norm_scratch};

} // namespace narrows::gpu
