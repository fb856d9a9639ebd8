#include "metal_kernels/scan.h"
#include "narrows/backend/gpu/dispatch.h"

namespace narrows::gpu {
namespace {

void dispatch_scan(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<ScanParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 2);
  if (p.inner == 1) {
    dispatch.kernel += "_rows";
    dispatch.threads = p.length <= 128 ? kLanes : kThreads;
    dispatch.set_groups(p.outer);
  } else {
    dispatch.kernel += "_columns";
    dispatch.set_threads(p.outer * p.inner);
  }
  dispatch.set_params(p);
}

} // namespace

const Row scan_row = {name_of, "_rows", dispatch_scan};

} // namespace narrows::gpu
