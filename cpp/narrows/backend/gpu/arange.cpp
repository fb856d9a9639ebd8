#include <algorithm>

#include "metal_kernels/arange.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

std::string arange_name(const KernelId& kernel) {
  return concat_message("arange_", name_of(kernel.out));
}

void split(double value, float (&parts)[2]) {
  parts[0] = static_cast<float>(value);
  parts[1] = static_cast<float>(value - static_cast<double>(parts[0]));
}

void dispatch_arange(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<ArangeParams>();
  split(p.start, p.start_parts);
  split(p.step, p.step_parts);
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 1);
  dispatch.set_threads(p.size);
  dispatch.set_params(p);
}

} // namespace

const Row arange_row = {arange_name, "", dispatch_arange};

} // namespace narrows::gpu
