#include <algorithm>

#include "metal_kernels/random_bits.h"
#include "narrows/backend/gpu/dispatch.h"

namespace narrows::gpu {
namespace {

void dispatch_random_bits(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<RandomBitsParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 2);
  dispatch.set_threads(p.keys * divided_up(p.bytes_per_key, 8));
  dispatch.set_params(p);
}

} // namespace

const Row random_bits_row = {
    [](const KernelId&) { return std::string("random_bits"); }, "", dispatch_random_bits};

} // namespace narrows::gpu
