#include <algorithm>

#include "metal_kernels/elementwise.h"
#include "narrows/backend/gpu/dispatch.h"
#include "narrows/backend/gpu/strided.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

constexpr uint32_t kStridedThreads = 128; // smaller groups make room for the next ones sooner

// Whether operands of one dimension lie without gaps. Those of two may have one element for all.
bool is_contiguous(const ElementwiseParams& p) {
  if (p.ndim > 1) {
    return false;
  }
  for (int k = 0; k <= p.inputs && p.ndim == 1; ++k) {
    const bool is_one = p.strides[k][0] == 0 && p.inputs == 2 && k < 2;
    if (p.strides[k][0] != 1 && !is_one) {
      return false;
    }
  }
  return true;
}

// The dtype of the result follows from the other parts of the name.
std::string elementwise_name(const KernelId& kernel) {
  return concat_message(
      "elementwise_", operation_name(kernel.family, kernel.op), "_", name_of(kernel.in));
}

std::string select_name(const KernelId& kernel) {
  return concat_message("select_", name_of(unsigned_of_size(kernel.out)));
}

std::string cast_name(const KernelId& kernel) {
  if (kernel.in == kernel.out) {
    const std::string_view name = name_of(unsigned_of_size(kernel.in));
    return concat_message("cast_", name, "_", name);
  }
  return name_of(kernel);
}

Dtype dtype_of(const KernelId& kernel, size_t operand, size_t operands) {
  if (kernel.family == KernelFamily::select) {
    return operand == 0 ? bool_ : kernel.out;
  }
  return operand + 1 == operands ? kernel.out : kernel.in;
}

void dispatch_elementwise(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<ElementwiseParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), call.addresses.size());
  std::array<int64_t, NARROWS_MAX_OPERANDS> phases{};
  int64_t largest = 1;
  for (size_t k = 0; k < call.addresses.size(); ++k) {
    const int64_t size = size_of(dtype_of(call.kernel, k, call.addresses.size()));
    phases[k] = static_cast<int64_t>(call.addresses[k] % kVectorBytes) / size;
    largest = std::max(largest, size);
  }
  bool aligned = true;
  for (size_t k = 0; k < call.addresses.size(); ++k) {
    const bool is_one = p.ndim == 1 && p.strides[k][0] == 0;
    aligned &= is_one || is_aligned(call.addresses[k]);
  }
  if (aligned && is_contiguous(p)) {
    dispatch.kernel += "_contiguous";
    const int64_t elements = kVectorBytes / largest;
    const int64_t packs = elements <= 2 ? 4 : 2; // as in elements.h
    dispatch.set_threads(divided_up(p.size, packs * elements));
    dispatch.set_params(p);
  } else {
    dispatch.kernel += "_strided";
    const StridedParams strided = strided_params(p, phases, largest);
    dispatch.set_threads(strided.threads, kStridedThreads);
    dispatch.set_params(strided);
  }
}

} // namespace

const Row elementwise_row = {elementwise_name, "_strided", dispatch_elementwise};
const Row select_row = {select_name, "_strided", dispatch_elementwise};
const Row cast_row = {cast_name, "_strided", dispatch_elementwise};

} // namespace narrows::gpu
