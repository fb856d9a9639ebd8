// Attention and its gradient: blocks of queries, each over all keys that it sees.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/attention_tiles.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

AttentionTile attention_tile(Dtype dtype) {
  return NARROWS_AT_BEST_ISA(attention_tile(dtype));
}

namespace {

// The least number of multiply-adds for a thread.
constexpr double kThreadProducts = 1 << 16;

int64_t batch_of(const AttentionParams& p) {
  int64_t count = 1;
  for (int64_t d = 0; d < p.batch_ndim; ++d) {
    count *= p.batch_shape[d];
  }
  return count;
}

// How many heads share one head of keys and values.
int64_t shared_heads(const AttentionParams& p) {
  return p.heads / std::max<int64_t>(1, p.key_heads);
}

int64_t computed_size(Dtype dtype) {
  return dtype == float64 ? 8 : 4;
}

// Blocks of queries that share a head of keys. Several heads with few queries form one block.
struct Blocks {
  int64_t heads;   // of a block
  int64_t queries; // of a block
  int64_t head_blocks;
  int64_t query_blocks;

  explicit Blocks(const AttentionParams& p)
      : heads(std::max<int64_t>(1, kAttentionQueries / std::max<int64_t>(1, p.queries))),
        queries(std::min(kAttentionQueries, p.queries)),
        head_blocks((shared_heads(p) + heads - 1) / heads),
        query_blocks((p.queries + kAttentionQueries - 1) / kAttentionQueries) {
  }
  int64_t count() const {
    return head_blocks * query_blocks;
  }
  // The last queries come first, because they take longest under a causal mask.
  AttentionBlock at(const AttentionParams& p, int64_t i) const {
    const int64_t head = i / query_blocks * heads;
    const int64_t first = (query_blocks - 1 - i % query_blocks) * queries;
    return {
        head, std::min(heads, shared_heads(p) - head), first, std::min(queries, p.queries - first)};
  }
};

// How many threads to use for parts of a call.
int64_t thread_slots(const AttentionParams& p, int64_t parts) {
  const double products = static_cast<double>(batch_of(p)) * static_cast<double>(p.heads) *
                          static_cast<double>(p.queries) * static_cast<double>(p.keys) *
                          static_cast<double>(p.size + p.value_size);
  const double most = std::min<double>(thread_count(), 1 + products / kThreadProducts);
  return std::max<int64_t>(1, std::min(parts, static_cast<int64_t>(most)));
}

// Calls f(slot, part) for each part, on whichever thread is free. Calls with one slot run one after
// the other.
template <typename F>
void each_part(int64_t slots, int64_t parts, F&& f) {
  std::atomic<int64_t> next = 0;
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      for (int64_t part = next++; part < parts; part = next++) {
        f(slot, part);
      }
    }
  });
}

// The first elements of entries of the batch and of heads of keys.
class Places {
 public:
  Places(const AttentionParams& p, Dtype dtype) : p_(p), item_size_(size_of(dtype)) {
  }

  const void* of(const void* base, const AttentionView& view, int64_t part, int64_t heads) const {
    return moved(base, view, part, heads, item_size_);
  }
  const void* moved(
      const void* base,
      const AttentionView& view,
      int64_t part,
      int64_t heads,
      int64_t item) const {
    int64_t offset = part % p_.key_heads * heads * view.head;
    int64_t rest = part / p_.key_heads;
    for (int64_t d = p_.batch_ndim; d-- > 0; rest /= p_.batch_shape[d]) {
      offset += rest % p_.batch_shape[d] * view.batch[d];
    }
    return static_cast<const std::byte*>(base) + offset * item;
  }

 private:
  const AttentionParams& p_;
  int64_t item_size_;
};

// The operands that both kernels read. Returns their number.
size_t read_operands(
    const AttentionParams& p,
    const Places& places,
    void* const* operands,
    int64_t part,
    AttentionOperands& to) {
  const int64_t shared = shared_heads(p);
  to.params = &p;
  to.query = places.of(operands[0], p.query, part, shared);
  to.key = places.of(operands[1], p.key, part, 1);
  to.value = places.of(operands[2], p.value, part, 1);
  if (p.mask_kind == AttentionMask::boolean) {
    to.mask = places.moved(operands[3], p.mask, part, shared, 1);
  } else if (p.mask_kind == AttentionMask::additive) {
    to.mask = places.of(operands[3], p.mask, part, shared);
  } else {
    return 3;
  }
  return 4;
}

template <typename T>
T* advanced(void* base, int64_t bytes) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(base) + bytes);
}

// The bytes that a block needs: `sizes` times its queries and keys, and `squares` times the numbers
// between queries and keys.
int64_t block_scratch(
    const KernelId& id, const AttentionParams& p, int64_t sizes, int64_t squares) {
  const int64_t size = attention_row_size(p.size) + attention_row_size(p.value_size);
  const int64_t block = sizes * (kAttentionQueries + kAttentionKeys) * size +
                        squares * kAttentionQueries * (kAttentionKeys + 8);
  return block * computed_size(id.in);
}
int64_t forward_block_scratch(const KernelId& id, const AttentionParams& p) {
  return block_scratch(id, p, 1, 1);
}
int64_t backward_block_scratch(const KernelId& id, const AttentionParams& p) {
  return block_scratch(id, p, 2, 2);
}

int64_t forward_parts(const AttentionParams& p) {
  return batch_of(p) * p.key_heads * Blocks(p).count();
}

void run_attention(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const AttentionParams*>(params);
  const AttentionTile tile = attention_tile(id.in);
  const Places places(p, id.in);
  const Blocks blocks(p);
  const int64_t shared = shared_heads(p);
  const int64_t rows = shared * p.queries; // of one head of keys
  const int64_t parts = forward_parts(p);
  const size_t outputs = 3 + (p.mask_kind > AttentionMask::causal) + (p.has_sinks != 0);
  each_part(thread_slots(p, parts), parts, [&](int64_t slot, int64_t part) {
    const int64_t group = part / blocks.count();
    AttentionOperands read{};
    const size_t sinks = read_operands(p, places, operands, group, read);
    read.sinks = places.of(operands[sinks], p.sinks, group, shared);
    tile.forward(
        read,
        blocks.at(p, part % blocks.count()),
        advanced<void>(scratch, slot * forward_block_scratch(id, p)),
        advanced<void>(operands[outputs], group * rows * p.value_size * size_of(id.in)),
        advanced<void>(operands[outputs + 1], group * rows * 2 * tile.item_size));
  });
}

int64_t attention_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const AttentionParams*>(params.data());
  return thread_slots(p, forward_parts(p)) * forward_block_scratch(id, p);
}

// Whether the cotangents of keys and values can hold the sums themselves.
bool sums_in_place(const KernelId& id, const AttentionParams& p) {
  return size_of(id.in) == computed_size(id.in) && attention_row_size(p.size) == p.size &&
         attention_row_size(p.value_size) == p.value_size;
}

// The bytes of the sums of one head of keys.
int64_t key_sums_size(const KernelId& id, const AttentionParams& p) {
  return p.keys * attention_row_size(p.size) * computed_size(id.in);
}
int64_t value_sums_size(const KernelId& id, const AttentionParams& p) {
  return p.keys * attention_row_size(p.value_size) * computed_size(id.in);
}

int64_t backward_slot_scratch(const KernelId& id, const AttentionParams& p) {
  const int64_t sums = sums_in_place(id, p) ? 0 : key_sums_size(id, p) + value_sums_size(id, p);
  return backward_block_scratch(id, p) + sums;
}

int64_t backward_parts(const AttentionParams& p) {
  return batch_of(p) * p.key_heads;
}

void run_attention_gradient(
    const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const AttentionParams*>(params);
  const AttentionTile tile = attention_tile(id.in);
  const Places places(p, id.in);
  const Blocks blocks(p);
  const int64_t shared = shared_heads(p);
  const int64_t parts = backward_parts(p);
  const int64_t item = size_of(id.in);
  each_part(thread_slots(p, parts), parts, [&](int64_t slot, int64_t part) {
    AttentionOperands read{};
    void* const* others = operands + read_operands(p, places, operands, part, read);
    read.statistics = places.moved(others[0], p.statistics, part, shared, tile.item_size);
    read.correction = places.moved(others[1], p.correction, part, shared, tile.item_size);
    read.cotangent = places.of(others[2], p.cotangent, part, shared);
    auto* query = advanced<void>(others[3], part * shared * p.queries * p.size * item);
    auto* key = advanced<void>(others[4], part * p.keys * p.size * item);
    auto* value = advanced<void>(others[5], part * p.keys * p.value_size * item);
    auto* own = advanced<void>(scratch, slot * backward_slot_scratch(id, p));
    const bool in_place = sums_in_place(id, p);
    auto* key_sums = in_place ? key : advanced<void>(own, backward_block_scratch(id, p));
    auto* value_sums = in_place ? value : advanced<void>(key_sums, key_sums_size(id, p));
    std::memset(key_sums, 0, static_cast<size_t>(key_sums_size(id, p)));
    std::memset(value_sums, 0, static_cast<size_t>(value_sums_size(id, p)));
    for (int64_t i = 0; i < blocks.count(); ++i) {
      tile.backward(read, blocks.at(p, i), own, query, key_sums, value_sums);
    }
    if (!in_place) {
      tile.store(key_sums, p.keys, p.size, key);
      tile.store(value_sums, p.keys, p.value_size, value);
    }
  });
}

int64_t attention_gradient_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const AttentionParams*>(params.data());
  return thread_slots(p, backward_parts(p)) * backward_slot_scratch(id, p);
}

bool supports_attention(const KernelId& id) {
  return is_floating(id.in) && id.in == id.out;
}

} // namespace

const Row attention_row = {run_attention, supports_attention, attention_scratch};
const Row attention_gradient_row = {
    run_attention_gradient, supports_attention, attention_gradient_scratch};

} // namespace narrows::cpu
