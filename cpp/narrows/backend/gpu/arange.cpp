#include <algorithm>

#include "metal_kernels/arange.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/sequence_parts.h"
#include "narrows/core/errors.h"

namespace narrows::gpu {
namespace {

std::string arange_name(const KernelId& kernel) {
  return concat_message("arange_", name_of(kernel.out));
}

void dispatch_arange(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<ArangeParams>();
  set_parts(p);
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 1);
  dispatch.set_threads(p.size);
  dispatch.set_params(p);
}

} // namespace

const Row arange_row = {arange_name, "", dispatch_arange};

} // namespace narrows::gpu
