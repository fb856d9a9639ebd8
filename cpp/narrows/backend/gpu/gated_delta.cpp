#include "metal_kernels/gated_delta.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

std::string gated_delta_name(const KernelId& kernel) {
  return concat_message("gated_delta_", name_of(kernel.in));
}

void dispatch_gated_delta(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<GatedDeltaParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 8);
  // An operand without elements has no memory. An output that has some takes its place; the kernel
  // does not touch it there.
  const uint32_t written = p.length > 0 ? 6 : 7;
  for (uint32_t i = 0; i < dispatch.place_count; ++i) {
    const bool is_state = i == 5 || i == 7;
    const bool has_keys = i < 2 || is_state;
    if ((p.length == 0 && !is_state) || (p.key_size == 0 && has_keys)) {
      dispatch.places[i] = {written};
    }
  }
  dispatch.threads = kLanes;
  dispatch.set_groups(p.batch * p.heads * p.value_size);
  dispatch.set_params(p);
}

} // namespace

const Row gated_delta_row = {gated_delta_name, "", dispatch_gated_delta};

} // namespace narrows::gpu
