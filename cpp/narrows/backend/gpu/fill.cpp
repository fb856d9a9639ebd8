#include <algorithm>

#include "metal_kernels/fill.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

std::string fill_name(const KernelId& kernel) {
  return concat_message("fill_", name_of(unsigned_of_size(kernel.out)));
}

void dispatch_fill(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<FillParams>();
  int64_t size = size_of(call.kernel.out);
  // Values are repeated to the largest type that the output allows, so that a thread writes more at
  // once.
  while (size < 8 && p.size % 2 == 0 && call.addresses[0] % (2 * size) == 0) {
    p.value |= p.value << (8 * size);
    p.size /= 2;
    size *= 2;
  }
  const Dtype dtype = size == 1 ? uint8 : size == 2 ? uint16 : size == 4 ? uint32 : uint64;
  Dispatch& dispatch = dispatches.add(base_name({KernelFamily::fill, 0, dtype, dtype}), 1);
  dispatch.set_threads(divided_up(p.size, 4)); // as in fill.metal
  dispatch.set_params(p);
}

} // namespace

const Row fill_row = {fill_name, "", dispatch_fill};

} // namespace narrows::gpu
