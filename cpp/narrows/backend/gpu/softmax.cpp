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
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 2);
  if (!shape_short_softmax(dispatch, call, p)) {
    dispatch.threads = p.length <= 1024 ? kLanes : kThreads;
  }
  dispatch.set_groups(p.rows);
  dispatch.set_params(p);
}

} // namespace

const Row softmax_row = {rows_name, "", dispatch_rows};
const Row logsumexp_row = {rows_name, "", dispatch_rows};

} // namespace narrows::gpu
