#include "metal_kernels/rope.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

std::string rope_name(const KernelId& kernel) {
  return concat_message("rope_", name_of(kernel.in));
}

void dispatch_rope(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<RopeParams>();
  const bool has_base = p.base != 0;
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), has_base ? 3 : 4);
  if (!has_base) {
    dispatch.kernel += "_frequencies";
  }
  dispatch.set_threads(p.batch * p.heads * p.length * (p.size - p.dims / 2));
  dispatch.set_params(p);
}

} // namespace

const Row rope_row = {rope_name, "", dispatch_rope};

} // namespace narrows::gpu
