#include "narrows/backend/cpu/sort_select.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "narrows/backend/cpu/kernels/key_sort.h"
#include "narrows/backend/cpu/radix.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Up to so many of the largest or smallest elements are collected in one pass over the row.
constexpr int64_t kFew = 4096;
constexpr int64_t kFewPart = 16; // if a row has so many times more elements
// Elements that are collected before the best of them are chosen, at least.
constexpr int64_t kCollected = 512;
constexpr int64_t kMostPieces = 256;
// Of shorter rows a key is chosen by comparisons, not by its bytes.
constexpr int64_t kShortRow = 2048;

bool is_few(const SortParams& p) {
  const bool at_end = p.first == 0 || p.first + p.count == p.length;
  return at_end && p.count <= kFew && p.count <= p.length / kFewPart && p.length > kShortRow;
}

int64_t capacity_of(const SortParams& p) {
  return std::max(4 * p.count, kCollected) + kSelectBlock;
}

int64_t entry_size(int64_t key_size) {
  return key_size == 8 ? sizeof(WideEntry) : sizeof(uint64_t);
}

uint64_t key_of(uint64_t entry) {
  return entry >> 32;
}
uint64_t key_of(const WideEntry& entry) {
  return entry.key;
}
uint32_t index_of(uint64_t entry) {
  return static_cast<uint32_t>(entry);
}
uint32_t index_of(const WideEntry& entry) {
  return static_cast<uint32_t>(entry.index);
}
bool is_before(uint64_t a, uint64_t b) {
  return a < b;
}
bool is_before(const WideEntry& a, const WideEntry& b) {
  return a.key != b.key ? a.key < b.key : a.index < b.index;
}

// The best `count` of the added elements. It has memory for some more.
template <typename Entry>
struct Best {
  bool above; // the largest are the best
  int64_t count;
  Entry* entries;
  int64_t kept = 0;

  void shrink() {
    if (kept <= count) {
      return;
    }
    std::nth_element(
        entries, entries + count - 1, entries + kept, [this](const Entry& a, const Entry& b) {
          return above ? is_before(b, a) : is_before(a, b);
        });
    kept = count;
  }
};

// Chooses from elements [begin, end) of a row. Of equal elements, later ones count as larger.
template <typename Entry>
void collect(
    const SelectCall& call, const char* row, int64_t begin, int64_t end, Best<Entry>& best) {
  const int64_t capacity = capacity_of(call.params);
  const char* in = row + begin * call.item_size;
  const int64_t n = end - begin;
  bool has_limit = false;
  uint64_t limit = 0;
  int64_t low = 0; // elements that remain candidates
  int64_t high = n;
  while (low < high) {
    int64_t at;
    int64_t size = std::min(kSelectBlock, high - low);
    if (best.above) {
      at = has_limit ? call.keys.find_above(in, high, limit) : high - size;
      if (at < 0) {
        break;
      }
      size = (high - at - 1) % kSelectBlock + 1;
      high = at;
    } else {
      at = has_limit ? low + call.keys.find_below(in + low * call.item_size, n - low, limit) : low;
      size = std::min(kSelectBlock, n - at);
      low = at + size;
    }
    std::array<Entry, kSelectBlock> block;
    call.keys.entries(in + at * call.item_size, size, begin + at, block.data());
    for (int64_t i = 0; i < size; ++i) {
      const uint64_t key = key_of(block[i]);
      best.entries[best.kept] = block[i];
      best.kept += !has_limit || (best.above ? key > limit : key < limit) ? 1 : 0;
    }
    if (best.kept + kSelectBlock > capacity) {
      best.shrink();
      limit = key_of(best.entries[best.count - 1]);
      has_limit = true;
    }
  }
  best.shrink();
}

template <typename Entry>
void write_best(const SelectCall& call, int64_t row, Best<Entry>& best) {
  std::sort(best.entries, best.entries + best.kept, [](const Entry& a, const Entry& b) {
    return is_before(a, b);
  });
  char* out = call.row_out(row);
  for (int64_t i = 0; i < best.kept; ++i) {
    const uint32_t index = index_of(best.entries[i]);
    if (call.indices) {
      reinterpret_cast<uint32_t*>(out)[i] = index;
    } else {
      std::memcpy(
          out + i * call.item_size,
          call.row_in(row) + index * call.item_size,
          static_cast<size_t>(call.item_size));
    }
  }
}

template <typename Entry>
void run_few(const SelectCall& call, char* scratch) {
  const SortParams& p = call.params;
  const int64_t capacity = capacity_of(p);
  auto* entries = reinterpret_cast<Entry*>(scratch);
  const bool above = p.first > 0;
  const int64_t slots = call.shares.slots;
  if (!call.shares.shared) {
    parallel_for(slots, 1, [&](int64_t first, int64_t last) {
      for (int64_t slot = first; slot < last; ++slot) {
        for (int64_t row = p.rows * slot / slots; row < p.rows * (slot + 1) / slots; ++row) {
          Best<Entry> best{above, p.count, entries + slot * capacity};
          collect(call, call.row_in(row), 0, p.length, best);
          write_best(call, row, best);
        }
      }
    });
    return;
  }
  std::array<int64_t, kMostPieces> kept;
  for (int64_t row = 0; row < p.rows; ++row) {
    parallel_for(slots, 1, [&](int64_t first, int64_t last) {
      for (int64_t slot = first; slot < last; ++slot) {
        Best<Entry> best{above, p.count, entries + slot * capacity};
        const int64_t begin = p.length * slot / slots;
        collect(call, call.row_in(row), begin, p.length * (slot + 1) / slots, best);
        kept[slot] = best.kept;
      }
    });
    Best<Entry> best{above, p.count, entries};
    for (int64_t slot = 0; slot < slots; ++slot) {
      const Entry* from = entries + slot * capacity;
      std::copy(from, from + kept[slot], entries + best.kept);
      best.kept += kept[slot];
    }
    best.shrink();
    write_best(call, row, best);
  }
}

// First elements below the chosen key, then equal ones, then the rest, each in the row's order.
template <typename Key, typename Item, typename ItemAt>
void write_parts(
    const SortParams& p, const Key* keys, const Selected& chosen, Item* out, ItemAt&& item_at) {
  const auto key = static_cast<Key>(chosen.key);
  int64_t below = -p.first;
  int64_t equal = below + chosen.below;
  int64_t above = equal + chosen.equal;
  for (int64_t i = 0; i < p.length; ++i) {
    const int64_t is_below = keys[i] < key ? 1 : 0;
    const int64_t is_equal = keys[i] == key ? 1 : 0;
    const int64_t place = is_below ? below : is_equal ? equal : above;
    below += is_below;
    equal += is_equal;
    above += 1 - is_below - is_equal;
    if (static_cast<uint64_t>(place) < static_cast<uint64_t>(p.count)) {
      out[place] = item_at(i);
    }
  }
}

// Whether the key is chosen by comparisons: where keys are parted by vectors, or few.
template <typename Key>
bool compares(const SortParams& p) {
  return (sizeof(Key) == sizeof(uint32_t) && key_sort()) || p.length <= kShortRow;
}

// Moves the k-th smallest key to its place.
template <typename Key>
void select_in_place(Key* keys, const SortParams& p) {
  if constexpr (sizeof(Key) == sizeof(uint32_t)) {
    if (const KeySort* by = key_sort()) {
      return by->select(keys, p.length, p.kth);
    }
  }
  std::nth_element(keys, keys + p.kth, keys + p.length);
}

// `spare` has room for as many keys.
template <typename Key>
Selected select_key(const Key* keys, const SortParams& p, Key* spare) {
  if (!compares<Key>(p)) {
    return radix_select(keys, p.length, p.kth, spare);
  }
  std::copy(keys, keys + p.length, spare);
  select_in_place(spare, p);
  Selected chosen{spare[p.kth], 0, 0};
  for (int64_t i = 0; i < p.length; ++i) {
    chosen.below += keys[i] < spare[p.kth] ? 1 : 0;
    chosen.equal += keys[i] == spare[p.kth] ? 1 : 0;
  }
  return chosen;
}

template <typename Key>
void select_row(const SelectCall& call, int64_t row, Key* keys) {
  const SortParams& p = call.params;
  const char* in = call.row_in(row);
  // Where all elements are wanted, the output has room for their keys.
  if (sizeof(Key) == sizeof(uint32_t) && !call.indices && p.count == p.length && compares<Key>(p)) {
    auto* out = reinterpret_cast<Key*>(call.row_out(row));
    if (!call.keys.keys(in, p.length, out)) {
      select_in_place(out, p);
      return call.keys.values(out, p.length, out);
    }
  }
  const bool differs = call.keys.keys(in, p.length, keys);
  // Keys of eight bytes may be those of complex numbers, which are not known by their keys alone.
  if (sizeof(Key) < 8 && !call.indices && !differs && compares<Key>(p)) {
    select_in_place(keys, p);
    return call.keys.values(keys + p.first, p.count, call.row_out(row));
  }
  const Selected chosen = select_key(keys, p, keys + p.length);
  if (call.indices) {
    write_parts(p, keys, chosen, reinterpret_cast<uint32_t*>(call.row_out(row)), [](int64_t i) {
      return static_cast<uint32_t>(i);
    });
  } else {
    // Elements are as large as their keys.
    const auto* items = reinterpret_cast<const Key*>(in);
    write_parts(p, keys, chosen, reinterpret_cast<Key*>(call.row_out(row)), [&](int64_t i) {
      return items[i];
    });
  }
}

template <typename Key>
void run_rows(const SelectCall& call, char* scratch) {
  const SortParams& p = call.params;
  const int64_t slots = std::min(call.shares.slots, p.rows);
  parallel_for(slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      Key* keys = reinterpret_cast<Key*>(scratch) + slot * 2 * p.length;
      for (int64_t row = p.rows * slot / slots; row < p.rows * (slot + 1) / slots; ++row) {
        select_row(call, row, keys);
      }
    }
  });
}

} // namespace

int64_t select_scratch(const SortParams& p, RowShares shares, int64_t key_size) {
  return is_few(p) ? shares.slots * capacity_of(p) * entry_size(key_size)
                   : std::min(shares.slots, p.rows) * 2 * p.length * key_size;
}

void run_select(const SelectCall& call, char* scratch) {
  const int64_t key_size = call.keys.key_size;
  if (is_few(call.params)) {
    return key_size == 8 ? run_few<WideEntry>(call, scratch) : run_few<uint64_t>(call, scratch);
  }
  switch (key_size) {
    case 1:
      return run_rows<uint8_t>(call, scratch);
    case 2:
      return run_rows<uint16_t>(call, scratch);
    case 4:
      return run_rows<uint32_t>(call, scratch);
    default:
      return run_rows<uint64_t>(call, scratch);
  }
}

} // namespace narrows::cpu
