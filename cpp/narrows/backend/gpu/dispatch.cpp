#include "narrows/backend/gpu/dispatch.h"

#include <unordered_map>

#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {

const Row* row_of(KernelFamily family) {
#define NARROWS_ROW_kernels(name) &name##_row
#define NARROWS_ROW_none(name) nullptr
  static constexpr const Row* kRows[] = {
#define FAMILY(name, Params, inputs, outputs, gpu) NARROWS_ROW_##gpu(name),
#include "metal_kernels/families.def"
  };
  return kRows[static_cast<size_t>(family)];
}

const std::string& base_name(const KernelId& kernel) {
  thread_local std::unordered_map<uint64_t, std::string> names;
  const auto found = names.find(kernel.key());
  return found != names.end()
             ? found->second
             : names.emplace(kernel.key(), row_of(kernel.family)->name(kernel)).first->second;
}

std::string general_name(const KernelId& kernel) {
  const Row* row = row_of(kernel.family);
  return row ? base_name(kernel) + row->general : std::string();
}

Dispatch& Dispatches::add(const std::string& kernel, size_t operands) {
  if (size_ == dispatches_.size()) {
    dispatches_.emplace_back();
  }
  Dispatch& dispatch = dispatches_[size_++];
  dispatch.kernel = kernel;
  dispatch.groups = {1, 1, 1};
  dispatch.is_product = false;
  dispatch.written = 1;
  dispatch.place_count = operands;
  for (uint32_t i = 0; i < operands; ++i) {
    dispatch.places[i] = {i, 0};
  }
  return dispatch;
}

void Dispatch::set_groups(int64_t count) {
  if (count > kMostGroups) {
    fail<std::runtime_error>("[gpu] ", kernel, ": too many threadgroups");
  }
  groups = {static_cast<uint32_t>(count), 1, 1};
}

void Dispatch::set_threads(int64_t count, uint32_t in_group) {
  threads = in_group;
  set_groups(divided_up(count, in_group));
}

uint32_t row_threads(int64_t length, int64_t at_once) {
  if (length <= 1024) {
    return kLanes;
  }
  const int64_t simdgroups = divided_up(length, 4 * at_once * kLanes);
  return kLanes * static_cast<uint32_t>(std::clamp<int64_t>(simdgroups, 1, kThreads / kLanes));
}

Dtype unsigned_of_size(Dtype dtype) {
  switch (size_of(dtype)) {
    case 1:
      return uint8;
    case 2:
      return uint16;
    case 4:
      return uint32;
    default:
      return uint64;
  }
}

} // namespace narrows::gpu
