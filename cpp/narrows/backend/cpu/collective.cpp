// Operations of several processes, by the engine of their group.
#include "metal_kernels/collective.h"

#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/process_group.h"

namespace narrows::cpu {
namespace {

void run_collective(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const CollectiveParams*>(params);
  process_group(p.group).run(static_cast<CollectiveOp>(id.op), id.out, operands[0], operands[1], p);
}

} // namespace

const Row collective_row{run_collective};

} // namespace narrows::cpu
