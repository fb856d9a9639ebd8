// The drivers that write without reading: fill and arange.
#include <cstring>

#include "metal_kernels/params.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/sequence.h"
#include "narrows/core/dispatch.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

constexpr int64_t kGrainBytes = 131072;

template <typename T>
void fill_typed(void* out, const void* pattern, int64_t count) {
  T value;
  std::memcpy(&value, pattern, sizeof(T));
  auto* values = static_cast<T*>(out);
  parallel_for(
      count, kGrainBytes / static_cast<int64_t>(sizeof(T)), [=](int64_t begin, int64_t end) {
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

} // namespace

void run_fill(void* out, const void* pattern, int64_t size, int64_t count) {
  switch (size) {
    case 1:
      return fill_typed<uint8_t>(out, pattern, count);
    case 2:
      return fill_typed<uint16_t>(out, pattern, count);
    case 4:
      return fill_typed<uint32_t>(out, pattern, count);
    default:
      return fill_typed<uint64_t>(out, pattern, count);
  }
}

void run_arange(const KernelId& id, void* const* operands, const void* params) {
  dispatch(id.out, [&](auto tag) {
    using T = typename decltype(tag)::type;
    arange_typed<T>(operands[0], *static_cast<const ArangeParams*>(params));
  });
}

} // namespace narrows::cpu
