#include <algorithm>

#include "metal_kernels/softmax.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

std::string rows_name(const KernelId& kernel) {
  return concat_message(name_of(kernel.family), "_", name_of(kernel.in));
}

// The most rows of a dispatch. So many rows end at a multiple of 16 bytes.
constexpr int64_t kMostRows = kMostGroups / kVectorBytes * kVectorBytes;

// Rows that fit into the registers of a threadgroup are read once.
bool shape_short_softmax(Dispatch& dispatch, const Call& call, const RowParams& p) {
  constexpr int64_t kPacks = 4; // packs of a thread, as in softmax.metal
  const int64_t elements = kVectorBytes / size_of(call.kernel.in);
  const int64_t threads = divided_up(p.length, kPacks * elements * kLanes) * kLanes;
  if (call.kernel.family != KernelFamily::softmax || is_complex(call.kernel.in) ||
      threads > kThreads || p.length % elements != 0 || !is_aligned(call.addresses[0]) ||
      !is_aligned(call.addresses[1])) {
    return false;
  }
  dispatch.kernel += "_short";
  dispatch.threads = static_cast<uint32_t>(threads);
  return true;
}

void dispatch_rows(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<RowParams>();
  const int64_t written = call.kernel.family == KernelFamily::softmax ? p.length : 1; // of a row
  for (int64_t first = 0; first < p.rows; first += kMostRows) {
    Dispatch& dispatch = dispatches.add(base_name(call.kernel), 2);
    if (!shape_short_softmax(dispatch, call, p)) {
      dispatch.threads = p.length <= 1024 ? kLanes : kThreads;
    }
    const RowParams q{std::min(kMostRows, p.rows - first), p.length};
    dispatch.set_groups(q.rows);
    dispatch.set_params(q);
    dispatch.set_places(
        {{0, first * p.length * size_of(call.kernel.in)},
         {1, first * written * size_of(call.kernel.out)}});
  }
}

} // namespace

const Row softmax_row = {rows_name, "", dispatch_rows};
const Row logsumexp_row = {rows_name, "", dispatch_rows};

} // namespace narrows::gpu
