// Gated delta updates. The rows of a state change independently of each other.
#include <algorithm>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/gated_delta_tiles.h"
#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

GatedDeltaTile gated_delta_tile(Dtype dtype) {
  return NARROWS_AT_BEST_ISA(gated_delta_tile(dtype));
}

namespace {

// The least number of a state's numbers, over all times, for a thread.
constexpr int64_t kThreadNumbers = 1 << 14;

int64_t computed_size(Dtype dtype) {
  return dtype == float64 ? 8 : 4;
}

int64_t row_blocks(const GatedDeltaParams& p) {
  return divided_up(p.value_size, kGatedDeltaRows);
}

// The parts that threads take: blocks of rows.
int64_t part_count(const GatedDeltaParams& p) {
  return p.batch * p.heads * row_blocks(p);
}

int64_t slot_count(const GatedDeltaParams& p) {
  const int64_t numbers = p.length * p.key_size * std::min(kGatedDeltaRows, p.value_size);
  const int64_t most = part_count(p) * std::max<int64_t>(1, numbers / kThreadNumbers);
  return std::clamp<int64_t>(std::min<int64_t>(thread_count(), most), 1, part_count(p));
}

int64_t slot_scratch(const KernelId& id, const GatedDeltaParams& p) {
  return (kGatedDeltaRows + 2) * p.key_size * computed_size(id.in);
}

const void* moved(
    const void* base, const GatedDeltaView& view, int64_t entry, int64_t head, int64_t item) {
  return static_cast<const std::byte*>(base) + (entry * view.batch + head * view.head) * item;
}

void run_gated_delta(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const GatedDeltaParams*>(params);
  if (part_count(p) == 0) {
    return;
  }
  const GatedDeltaTile tile = gated_delta_tile(id.in);
  const int64_t stored = size_of(id.in);
  const int64_t computed = computed_size(id.in);
  const int64_t parts = part_count(p);
  const int64_t slots = slot_count(p);
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = parts * end / slots;
    for (int64_t part = parts * begin / slots; part < last; ++part) {
      const int64_t column = part % row_blocks(p) * kGatedDeltaRows;
      const int64_t head = part / row_blocks(p) % p.heads;
      const int64_t entry = part / row_blocks(p) / p.heads;
      const int64_t key_head = head / (p.heads / p.key_heads);
      const auto* value =
          static_cast<const std::byte*>(moved(operands[2], p.value, entry, head, stored));
      const auto* state =
          static_cast<const std::byte*>(moved(operands[5], p.state, entry, head, computed));
      const int64_t result = (entry * p.length * p.heads + head) * p.value_size + column;
      const int64_t row = (entry * p.heads + head) * p.value_size + column;
      tile(
          {&p,
           moved(operands[0], p.query, entry, key_head, stored),
           moved(operands[1], p.key, entry, key_head, stored),
           value + column * p.value.column * stored,
           moved(operands[3], p.decay, entry, head, computed),
           moved(operands[4], p.rate, entry, head, computed),
           state + column * p.state.time * computed,
           static_cast<std::byte*>(operands[6]) + result * stored,
           static_cast<std::byte*>(operands[7]) + row * p.key_size * computed,
           static_cast<std::byte*>(scratch) + begin * slot_scratch(id, p)},
          std::min(kGatedDeltaRows, p.value_size - column));
    }
  });
}

int64_t gated_delta_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const GatedDeltaParams*>(params.data());
  return part_count(p) == 0 ? 0 : slot_count(p) * slot_scratch(id, p);
}

} // namespace

const Row gated_delta_row = {
    run_gated_delta,
    [](const KernelId& id) { return is_floating(id.in) && id.in == id.out; },
    gated_delta_scratch};

} // namespace narrows::cpu
