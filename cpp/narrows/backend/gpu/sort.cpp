// Rows that fit into a threadgroup's memory are sorted there. Longer rows are sorted in blocks, and
// further dispatches merge these two by two.
#include "metal_kernels/sort.h"

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

constexpr int64_t kBlock = 1024; // NARROWS_SORT_BLOCK of the kernel

// Partitions are computed by sorting.
std::string sort_name(const KernelId& kernel) {
  const auto op = static_cast<SortOp>(kernel.op);
  const bool elements = op == SortOp::sort || op == SortOp::partition;
  return concat_message("sort_", elements ? "sort" : "argsort", "_", name_of(kernel.in));
}

std::string places_name(const KernelId& kernel, const char* variant) {
  return concat_message("sort_", name_of(kernel.in), variant);
}

uint32_t threads_for(int64_t length) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(divided_up(length, 2 * kLanes) * kLanes, kLanes, kThreads));
}

void dispatch_sort(const Call& call, Dispatches& dispatches) {
  auto p = call.params_as<SortParams>();
  const bool is_block = p.length <= kBlock;
  Dispatch& blocks = dispatches.add(
      is_block ? base_name(call.kernel) + "_block" : places_name(call.kernel, "_runs"), 2);
  blocks.threads = threads_for(std::min(p.length, kBlock));
  blocks.set_groups(p.rows * divided_up(p.length, kBlock));
  blocks.set_params(p);
  if (is_block) {
    return;
  }
  // Each dispatch moves the places from one half of the scratch to the other.
  const int64_t half = p.rows * p.length * static_cast<int64_t>(sizeof(uint32_t));
  int64_t from = 0;
  blocks.set_places({{0}, {kScratch, from}});
  for (p.run = kBlock; p.run < p.length; p.run *= 2) {
    const bool is_last = 2 * p.run >= p.length;
    Dispatch& merge = dispatches.add(
        is_last ? base_name(call.kernel) + "_last" : places_name(call.kernel, "_merge"), 3);
    merge.set_threads(p.rows * p.length);
    merge.set_params(p);
    if (is_last) {
      merge.set_places({{0}, {kScratch, from}, {1}});
    } else {
      merge.set_places({{0}, {kScratch, from}, {kScratch, half - from}});
    }
    from = half - from;
  }
}

int64_t sort_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<SortParams>();
  const int64_t places = p.rows * p.length * static_cast<int64_t>(sizeof(uint32_t));
  return p.length <= kBlock ? 0 : p.length <= 2 * kBlock ? places : 2 * places;
}

} // namespace

const Row sort_row = {sort_name, "_block", dispatch_sort, sort_scratch};

} // namespace narrows::gpu
