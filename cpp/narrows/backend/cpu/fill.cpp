// The kernels that write without reading: fill and arange.
#include <cstring>

#include "metal_kernels/arange.h"
#include "metal_kernels/fill.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/sequence.h"
#include "narrows/core/dispatch.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

constexpr int64_t kGrainBytes = 131072;

template <typename T>
void fill_typed(void* out, const FillParams& p) {
  T value;
  std::memcpy(&value, &p.value, sizeof(T));
  auto* values = static_cast<T*>(out);
  parallel_for(
      p.size, kGrainBytes / static_cast<int64_t>(sizeof(T)), [=](int64_t begin, int64_t end) {
        std::fill(values + begin, values + end, value);
      });
}

template <typename T>
void arange_typed(void* out, const ArangeParams& params) {
  auto* values = static_cast<T*>(out);
  parallel_for(params.size, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      values[i] = sequence_element<T>(params, i);
    }
  });
}

void run_fill(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const FillParams*>(params);
  switch (size_of(id.out)) {
    case 1:
      return fill_typed<uint8_t>(operands[0], p);
    case 2:
      return fill_typed<uint16_t>(operands[0], p);
    case 4:
      return fill_typed<uint32_t>(operands[0], p);
    default:
      return fill_typed<uint64_t>(operands[0], p);
  }
}

void run_arange(const KernelId& id, void* const* operands, const void* params, void*) {
  dispatch(id.out, [&](auto tag) {
    using T = typename decltype(tag)::type;
    arange_typed<T>(operands[0], *static_cast<const ArangeParams*>(params));
  });
}

} // namespace

const Row fill_row = {run_fill};
const Row arange_row = {run_arange, [](const KernelId& id) { return id.out != Dtype::bool_; }};

} // namespace narrows::cpu
