// Sorts rows: their elements, or the places of the elements.
#include <algorithm>
#include <array>
#include <atomic>
#include <type_traits>

#include "metal_kernels/sort.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/key_sort.h"
#include "narrows/backend/cpu/kernels/sort_keys.h"
#include "narrows/backend/cpu/radix.h"
#include "narrows/backend/cpu/sort_select.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

SortKeys sort_keys(Dtype dtype) {
  return NARROWS_AT_BEST_ISA(sort_keys(dtype));
}

const KeySort* key_sort() {
  return NARROWS_AT_BEST_ISA(key_sort());
}

namespace {

// The least number of elements for a thread.
constexpr int64_t kThreadElements = 1 << 11;
// Rows of at least so many elements are shared by all threads if there are fewer rows than threads.
constexpr int64_t kLongRow = 1 << 16;
constexpr int64_t kMostSlots = 256;

bool writes_indices(SortOp op) {
  return op == SortOp::argsort || op == SortOp::argpartition;
}
bool selects(SortOp op) {
  return op == SortOp::partition || op == SortOp::argpartition;
}
// Equal complex numbers may differ in the signs of their zeros. They are sorted by their places.
bool sorts_places(const KernelId& id) {
  return writes_indices(static_cast<SortOp>(id.op)) || is_complex(id.in);
}

RowShares shares_of(const KernelId& id, const SortParams& p) {
  const int64_t threads = std::min<int64_t>(thread_count(), kMostSlots);
  const bool shared = threads > 1 && p.rows < threads && p.length >= kLongRow;
  if (shared) {
    return {true, selects(static_cast<SortOp>(id.op)) ? threads : 1};
  }
  const int64_t worth = p.rows * p.length / kThreadElements;
  return {false, std::clamp<int64_t>(worth, 1, std::min(threads, p.rows))};
}

// Whether elements are sorted where they get to, without scratch: vectors part keys in place.
bool sorts_in_place(const KernelId& id) {
  return !sorts_places(id) && size_of(id.in) == sizeof(uint32_t) && key_sort();
}

struct SortCall {
  SortParams p;
  RowShares shares;
  SortKeys keys;
  const char* in;
  char* out;
  int64_t item_size;
  int64_t out_size;
  int64_t* counts; // of shared rows
  bool in_place;

  // Calls run(begin, end) for pieces of a row; all threads share a long row.
  template <typename Run>
  void over_row(Run&& run) const {
    if (shares.shared) {
      parallel_for(p.length, kThreadElements, [&](int64_t begin, int64_t end) { run(begin, end); });
    } else {
      run(int64_t{0}, p.length);
    }
  }
  template <typename Item>
  Item* sorted(Item* items, Item* spare, RadixBytes bytes) const {
    return shares.shared ? radix_sort_shared(items, p.length, spare, bytes, counts)
                         : radix_sort(items, p.length, spare, bytes);
  }
};

// Parts of a shared row, for each thread that takes them one after another.
constexpr int64_t kThreadParts = 4;

// Sorts a row on all threads: parts it, and its parts, until there are enough, and then sorts
// those.
void sort_shared(const KeySort& by, uint32_t* keys, int64_t n) {
  std::array<int64_t, 2 * kThreadParts * kMostSlots + 1> bounds;
  bounds[0] = 0;
  bounds[1] = n;
  const int64_t threads = std::min<int64_t>(thread_count(), kMostSlots);
  int64_t parts = 1;
  while (parts < kThreadParts * threads) {
    for (int64_t i = parts; i > 0; --i) {
      bounds[2 * i] = bounds[i];
    }
    parallel_for(parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t begin = bounds[2 * i];
        const int64_t size = bounds[2 * i + 2] - begin;
        bounds[2 * i + 1] =
            begin + (size > 0 ? by.part(keys + begin, size, by.middle(keys + begin, size)) : 0);
      }
    });
    parts *= 2;
  }
  std::atomic<int64_t> next = 0;
  parallel_for(threads, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < parts; i = next++) {
      by.sort(keys + bounds[i], bounds[i + 1] - bounds[i]);
    }
  });
}

// Sorts keys and returns where they are: in place or in `spare`.
template <typename Key>
const Key* sorted_keys(const SortCall& call, Key* keys, Key* spare) {
  if constexpr (sizeof(Key) == sizeof(uint32_t)) {
    if (const KeySort* by = key_sort()) {
      if (call.shares.shared) {
        sort_shared(*by, keys, call.p.length);
      } else {
        by->sort(keys, call.p.length);
      }
      return keys;
    }
  }
  return call.sorted(keys, spare, {0, sizeof(Key)});
}

// The row's part of the output has room for a key of each element. It serves as spare memory, or
// keys are sorted there.
template <typename Key>
void sort_elements(const SortCall& call, int64_t row, char* scratch) {
  const char* in = call.in + row * call.p.length * call.item_size;
  char* out = call.out + row * call.p.length * call.item_size;
  auto* keys = reinterpret_cast<Key*>(call.in_place ? out : scratch);
  bool differs = false;
  call.over_row([&](int64_t begin, int64_t end) {
    if (call.keys.keys(in + begin * call.item_size, end - begin, keys + begin)) {
      __atomic_store_n(&differs, true, __ATOMIC_RELAXED);
    }
  });
  const Key* result = sorted_keys(call, keys, reinterpret_cast<Key*>(out));
  call.over_row([&](int64_t begin, int64_t end) {
    call.keys.values(result + begin, end - begin, out + begin * call.item_size);
  });
  if (differs) {
    call.keys.restore(in, call.p.length, out);
  }
}

uint32_t index_of(uint64_t entry) {
  return static_cast<uint32_t>(entry);
}
uint32_t index_of(const WideEntry& entry) {
  return static_cast<uint32_t>(entry.index);
}

// In place or in `spare`.
template <typename Entry>
const Entry* sorted_entries(const SortCall& call, Entry* entries, Entry* spare) {
  if constexpr (std::is_same_v<Entry, uint64_t>) {
    if (call.keys.order_few && call.p.length <= kFewEntries) {
      call.keys.order_few(entries, call.p.length, spare);
      return spare;
    }
  }
  const int first_bit = call.keys.key_size == 8 ? 0 : 32;
  return call.sorted(entries, spare, {first_bit, static_cast<int>(call.keys.key_size)});
}

template <typename Entry>
void sort_places(const SortCall& call, int64_t row, char* scratch, bool indices) {
  const char* in = call.in + row * call.p.length * call.item_size;
  char* out = call.out + row * call.p.length * call.out_size;
  auto* entries = reinterpret_cast<Entry*>(scratch);
  call.over_row([&](int64_t begin, int64_t end) {
    call.keys.entries(in + begin * call.item_size, end - begin, begin, entries + begin);
  });
  const Entry* result = sorted_entries(call, entries, entries + call.p.length);
  call.over_row([&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t index = index_of(result[i]);
      if (indices) {
        reinterpret_cast<uint32_t*>(out)[i] = index;
      } else {
        reinterpret_cast<uint64_t*>(out)[i] = reinterpret_cast<const uint64_t*>(in)[index];
      }
    }
  });
}

void sort_row(const KernelId& id, const SortCall& call, int64_t row, char* scratch) {
  const int64_t key_size = call.keys.key_size;
  if (sorts_places(id)) {
    const bool indices = writes_indices(static_cast<SortOp>(id.op));
    return key_size == 8 ? sort_places<WideEntry>(call, row, scratch, indices)
                         : sort_places<uint64_t>(call, row, scratch, indices);
  }
  switch (key_size) {
    case 1:
      return sort_elements<uint8_t>(call, row, scratch);
    case 2:
      return sort_elements<uint16_t>(call, row, scratch);
    case 4:
      return sort_elements<uint32_t>(call, row, scratch);
    default:
      return sort_elements<uint64_t>(call, row, scratch);
  }
}

// Scratch of one slot of a sort, in bytes.
int64_t slot_size(const KernelId& id, const SortParams& p, int64_t key_size) {
  if (sorts_in_place(id)) {
    return 0;
  }
  const int64_t entry = key_size == 8 ? sizeof(WideEntry) : sizeof(uint64_t);
  const int64_t bytes = p.length * (sorts_places(id) ? 2 * entry : key_size);
  return (bytes + 63) / 64 * 64;
}

int64_t scratch_size(const KernelId& id, const SortParams& p) {
  const int64_t key_size = sort_keys(id.in).key_size;
  const RowShares shares = shares_of(id, p);
  if (selects(static_cast<SortOp>(id.op))) {
    return select_scratch(p, shares, key_size);
  }
  const int64_t counts = shares.shared && !sorts_in_place(id) ? radix_counts_size() : 0;
  return counts + shares.slots * slot_size(id, p, key_size);
}

bool is_empty(const SortParams& p) {
  return p.rows == 0 || p.length == 0 || p.count == 0;
}

void run_sort(const KernelId& id, void* const* operands, const void* params, void* planned) {
  const auto& p = *static_cast<const SortParams*>(params);
  if (is_empty(p)) {
    return;
  }
  SmallScratch small;
  auto* scratch = reinterpret_cast<char*>(small.unless(planned));
  const auto* in = static_cast<const char*>(operands[0]);
  auto* out = static_cast<char*>(operands[1]);
  const RowShares shares = shares_of(id, p);
  const SortKeys keys = sort_keys(id.in);
  if (selects(static_cast<SortOp>(id.op))) {
    const bool indices = writes_indices(static_cast<SortOp>(id.op));
    return run_select({p, shares, keys, in, out, size_of(id.in), indices}, scratch);
  }
  const SortCall call{
      p,
      shares,
      keys,
      in,
      out,
      size_of(id.in),
      size_of(id.out),
      reinterpret_cast<int64_t*>(scratch),
      sorts_in_place(id)};
  if (shares.shared) {
    for (int64_t row = 0; row < p.rows; ++row) {
      sort_row(id, call, row, scratch + radix_counts_size());
    }
    return;
  }
  const int64_t slot_bytes = slot_size(id, p, keys.key_size);
  parallel_for(shares.slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      const int64_t end = p.rows * (slot + 1) / shares.slots;
      for (int64_t row = p.rows * slot / shares.slots; row < end; ++row) {
        sort_row(id, call, row, scratch + slot * slot_bytes);
      }
    }
  });
}

int64_t sort_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const SortParams*>(params.data());
  return is_empty(p) ? 0 : planned_scratch(scratch_size(id, p));
}

} // namespace

const Row sort_row = {run_sort, nullptr, sort_scratch};

} // namespace narrows::cpu
