// Attention and its gradient: blocks of queries, each over all keys that it sees.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/attention_tiles.h"
#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"
#include "narrows/runtime/subnormals.h"

namespace narrows::cpu {

AttentionTile attention_tile(Dtype dtype) {
  return NARROWS_AT_BEST_ISA(attention_tile(dtype));
}

namespace {

// The least number of multiply-adds for a thread.
constexpr double kThreadProducts = 1 << 16;
// Fewer parts than this share the keys, too: one token sees a long cache on all threads. It is the
// same number on each machine, and so are the results.
constexpr int64_t kFewParts = 32;
constexpr int64_t kLeastRange = 512;
// Parts for each thread, so that none waits long for the others.
constexpr int64_t kThreadParts = 4;

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

int64_t parts_of(const AttentionParams& p) {
  return batch_of(p) * p.key_heads;
}

int64_t rounded_up(int64_t n, int64_t step) {
  return divided_up(n, step) * step;
}

// Blocks of queries that share a head of keys. Several heads with few queries form one block.
struct Blocks {
  int64_t heads;   // of a block
  int64_t queries; // of a block
  int64_t head_blocks;
  int64_t query_blocks;

  Blocks(const AttentionParams& p, int64_t most)
      : heads(std::max<int64_t>(1, most / std::max<int64_t>(1, p.queries))),
        queries(std::min(most, p.queries)),
        head_blocks(divided_up(shared_heads(p), heads)),
        query_blocks(divided_up(p.queries, most)) {
    heads = std::min(heads, std::max<int64_t>(1, shared_heads(p)));
  }
  int64_t count() const {
    return head_blocks * query_blocks;
  }
  int64_t rows() const {
    return heads * queries;
  }
  // The last queries come first, because they take longest under a causal mask.
  AttentionBlock at(const AttentionParams& p, int64_t i) const {
    const int64_t head = i / query_blocks * heads;
    const int64_t first = (query_blocks - 1 - i % query_blocks) * queries;
    return {
        head, std::min(heads, shared_heads(p) - head), first, std::min(queries, p.queries - first)};
  }
};

// Ranges of the keys.
struct KeyRanges {
  int64_t length;
  int64_t count;

  // As many as are wanted, if each has enough keys.
  KeyRanges(const AttentionParams& p, int64_t wanted) {
    const int64_t most = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, p.keys / kLeastRange));
    length = std::max(kAttentionKeys, rounded_up(divided_up(p.keys, most), kAttentionKeys));
    count = std::max<int64_t>(1, divided_up(p.keys, length));
  }
  AttentionRange at(const AttentionParams& p, int64_t i) const {
    return {i * length, std::min(p.keys, (i + 1) * length)};
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

// Rows of a block as kernels lay them out.
int64_t lanes_of(const Blocks& blocks) {
  return rounded_up(blocks.rows(), 16);
}
// Keys and values of a block, converted, and the queries with their scores.
int64_t shared_scratch(const AttentionParams& p, const Blocks& blocks) {
  const int64_t sizes = attention_row_size(p.size) + attention_row_size(p.value_size);
  return kAttentionKeys * sizes + lanes_of(blocks) * (p.size + kAttentionKeys);
}

// How the work of a call is divided.
struct ForwardParts {
  Blocks blocks;
  KeyRanges ranges;

  explicit ForwardParts(const AttentionParams& p)
      : blocks(p, kGradientQueries),
        ranges(p, kFewParts / std::max<int64_t>(1, parts_of(p) * blocks.count())) {
    if (ranges.count > 1) {
      return;
    }
    const int64_t wanted = kThreadParts * thread_count();
    for (int64_t most = kAttentionQueries; most > kGradientQueries; most /= 2) {
      const Blocks larger(p, most);
      if (parts_of(p) * larger.count() >= wanted) {
        blocks = larger;
        return;
      }
    }
  }
  // Of queries: each goes over all ranges of keys.
  int64_t count(const AttentionParams& p) const {
    return parts_of(p) * blocks.count();
  }
  int64_t slots(const AttentionParams& p) const {
    return thread_slots(p, count(p) * ranges.count);
  }
  int64_t state_size(const AttentionParams& p) const {
    return attention_state_size(blocks.rows(), p.value_size);
  }
  int64_t state_bytes(const KernelId& id, const AttentionParams& p) const {
    return state_size(p) * computed_size(id.in);
  }
  int64_t slot_bytes(const KernelId& id, const AttentionParams& p) const {
    return shared_scratch(p, blocks) * computed_size(id.in) + state_bytes(id, p);
  }
  int64_t scratch(const KernelId& id, const AttentionParams& p) const {
    const int64_t states = ranges.count > 1 ? count(p) * ranges.count * state_bytes(id, p) : 0;
    return slots(p) * slot_bytes(id, p) + states;
  }
};

void run_attention(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const AttentionParams*>(params);
  const SubnormalsFlushed flushed(id.in);
  const AttentionTile tile = attention_tile(id.in);
  const Places places(p, id.in);
  const ForwardParts parts(p);
  const int64_t blocks = parts.blocks.count();
  const int64_t ranges = parts.ranges.count;
  const int64_t shared = shared_heads(p);
  const int64_t rows = shared * p.queries; // of one head of keys
  const size_t outputs = 3 + (p.mask_kind > AttentionMask::causal) + (p.has_sinks != 0);
  const auto read = [&](int64_t group) {
    AttentionOperands result{};
    const size_t sinks = read_operands(p, places, operands, group, result);
    result.sinks = places.of(operands[sinks], p.sinks, group, shared);
    return result;
  };
  const auto result = [&](int64_t group) {
    return advanced<void>(operands[outputs], group * rows * p.value_size * size_of(id.in));
  };
  const auto statistics = [&](int64_t group) {
    return advanced<void>(operands[outputs + 1], group * rows * 2 * tile.item_size);
  };
  auto* states = advanced<void>(scratch, parts.slots(p) * parts.slot_bytes(id, p));
  const auto state = [&](int64_t i) {
    return ranges > 1 ? advanced<void>(states, i * parts.state_bytes(id, p)) : nullptr;
  };
  each_part(parts.slots(p), parts.count(p) * ranges, [&](int64_t slot, int64_t i) {
    const int64_t group = i / ranges / blocks;
    tile.forward(
        read(group),
        parts.blocks.at(p, i / ranges % blocks),
        parts.ranges.at(p, i % ranges),
        advanced<void>(scratch, slot * parts.slot_bytes(id, p)),
        state(i),
        result(group),
        statistics(group));
  });
  for (int64_t i = 0; ranges > 1 && i < parts.count(p); ++i) {
    const int64_t group = i / blocks;
    tile.merge(
        read(group),
        parts.blocks.at(p, i % blocks),
        state(i * ranges),
        parts.state_size(p),
        ranges,
        result(group),
        statistics(group));
  }
}

int64_t attention_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const AttentionParams*>(params.data());
  return ForwardParts(p).scratch(id, p);
}

// Whether the cotangents of keys and values can hold the sums themselves.
bool sums_in_place(const KernelId& id, const AttentionParams& p) {
  return size_of(id.in) == computed_size(id.in) && attention_row_size(p.size) == p.size &&
         attention_row_size(p.value_size) == p.value_size;
}

// How the work of a gradient is divided: heads of keys, and ranges of keys where they are few. Then
// each range gives queries a part of their cotangents, which are added in the order of the keys.
struct BackwardParts {
  Blocks blocks;
  KeyRanges ranges;

  explicit BackwardParts(const AttentionParams& p)
      : blocks(p, kGradientQueries),
        ranges(p, thread_count() > 1 ? 2 * thread_count() / std::max<int64_t>(1, parts_of(p)) : 1) {
  }
  int64_t count(const AttentionParams& p) const {
    return parts_of(p) * ranges.count;
  }
  int64_t slots(const AttentionParams& p) const {
    return thread_slots(p, count(p));
  }
  int64_t block_bytes(const KernelId& id, const AttentionParams& p) const {
    const int64_t lanes = lanes_of(blocks);
    const int64_t sizes = attention_row_size(p.size) + attention_row_size(p.value_size);
    const int64_t own = lanes * (p.size + p.value_size + sizes + kAttentionKeys + 3);
    return (shared_scratch(p, blocks) + own) * computed_size(id.in);
  }
  // Of the sums of a range, in bytes.
  int64_t key_sums(const KernelId& id, const AttentionParams& p, int64_t keys) const {
    return keys * attention_row_size(p.size) * computed_size(id.in);
  }
  int64_t value_sums(const KernelId& id, const AttentionParams& p, int64_t keys) const {
    return keys * attention_row_size(p.value_size) * computed_size(id.in);
  }
  int64_t slot_bytes(const KernelId& id, const AttentionParams& p) const {
    const int64_t sums = key_sums(id, p, ranges.length) + value_sums(id, p, ranges.length);
    return block_bytes(id, p) + (sums_in_place(id, p) ? 0 : sums);
  }
  // Elements of the cotangents of all queries.
  static int64_t query_elements(const AttentionParams& p) {
    return batch_of(p) * p.heads * p.queries * p.size;
  }
  int64_t scratch(const KernelId& id, const AttentionParams& p) const {
    const int64_t queries = ranges.count > 1 ? ranges.count * query_elements(p) : 0;
    return slots(p) * slot_bytes(id, p) + queries * computed_size(id.in);
  }
};

struct GradientCall {
  const KernelId& id;
  const AttentionParams& p;
  void* const* operands;
  AttentionTile tile;
  BackwardParts parts;
  std::byte* scratch;

  // The cotangents of queries that one range of keys gives, of all heads.
  void* query_parts(int64_t range) const {
    std::byte* first = scratch + parts.slots(p) * parts.slot_bytes(id, p);
    return first + range * BackwardParts::query_elements(p) * tile.item_size;
  }

  void run_part(int64_t slot, int64_t part) const;
  void add_query_parts(void* to) const;
};

void GradientCall::run_part(int64_t slot, int64_t part) const {
  const Places places(p, id.in);
  const int64_t group = part / parts.ranges.count;
  const AttentionRange keys = parts.ranges.at(p, part % parts.ranges.count);
  const int64_t shared = shared_heads(p);
  const int64_t item = size_of(id.in);
  AttentionOperands read{};
  void* const* others = operands + read_operands(p, places, operands, group, read);
  read.statistics = places.moved(others[0], p.statistics, group, shared, tile.item_size);
  read.correction = places.moved(others[1], p.correction, group, shared, tile.item_size);
  read.cotangent = places.of(others[2], p.cotangent, group, shared);
  const int64_t first_query = group * shared * p.queries * p.size;
  auto* query = advanced<void>(others[3], first_query * item);
  auto* query_part =
      parts.ranges.count > 1
          ? advanced<void>(query_parts(part % parts.ranges.count), first_query * tile.item_size)
          : nullptr;
  auto* key = advanced<void>(others[4], (group * p.keys + keys.begin) * p.size * item);
  auto* value = advanced<void>(others[5], (group * p.keys + keys.begin) * p.value_size * item);
  auto* own = advanced<void>(scratch, slot * parts.slot_bytes(id, p));
  const bool in_place = sums_in_place(id, p);
  const int64_t count = keys.end - keys.begin;
  auto* key_sums = in_place ? key : advanced<void>(own, parts.block_bytes(id, p));
  auto* value_sums =
      in_place ? value : advanced<void>(key_sums, parts.key_sums(id, p, parts.ranges.length));
  std::memset(key_sums, 0, static_cast<size_t>(parts.key_sums(id, p, count)));
  std::memset(value_sums, 0, static_cast<size_t>(parts.value_sums(id, p, count)));
  for (int64_t i = 0; i < parts.blocks.count(); ++i) {
    const AttentionBlock block = parts.blocks.at(p, i);
    tile.backward(read, block, keys, own, query, query_part, key_sums, value_sums);
  }
  if (!in_place) {
    tile.store(key_sums, count, p.size, key);
    tile.store(value_sums, count, p.value_size, value);
  }
}

void GradientCall::add_query_parts(void* to) const {
  constexpr int64_t kGrain = 1 << 14;
  const int64_t elements = BackwardParts::query_elements(p);
  parallel_for(elements, kGrain, [&](int64_t begin, int64_t end) {
    tile.add_parts(
        advanced<void>(query_parts(0), begin * tile.item_size),
        elements,
        parts.ranges.count,
        end - begin,
        advanced<void>(to, begin * size_of(id.in)));
  });
}

void run_attention_gradient(
    const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const AttentionParams*>(params);
  const SubnormalsFlushed flushed(id.in);
  const GradientCall call{
      id, p, operands, attention_tile(id.in), BackwardParts(p), static_cast<std::byte*>(scratch)};
  const int64_t slots = call.parts.slots(p);
  each_part(
      slots, call.parts.count(p), [&](int64_t slot, int64_t part) { call.run_part(slot, part); });
  if (call.parts.ranges.count > 1) {
    const size_t inputs = 6 + (p.mask_kind > AttentionMask::causal ? 1 : 0);
    call.add_query_parts(operands[inputs]);
  }
}

int64_t attention_gradient_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const AttentionParams*>(params.data());
  return BackwardParts(p).scratch(id, p);
}

bool supports_attention(const KernelId& id) {
  return is_floating(id.in) && id.in == id.out;
}

} // namespace

const Row attention_row = {run_attention, supports_attention, attention_scratch};
const Row attention_gradient_row = {
    run_attention_gradient, supports_attention, attention_gradient_scratch};

} // namespace narrows::cpu
