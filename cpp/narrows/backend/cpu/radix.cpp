#include "narrows/backend/cpu/radix.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Below so many items for each byte of the keys, comparison sorting is used.
constexpr int64_t kFewItems = 32;

uint64_t bits_of(uint64_t item) {
  return item;
}
uint64_t bits_of(const WideEntry& item) {
  return item.key;
}

bool is_before(uint64_t a, uint64_t b) {
  return a < b;
}
bool is_before(const WideEntry& a, const WideEntry& b) {
  return a.key != b.key ? a.key < b.key : a.index < b.index;
}

template <typename Item>
uint32_t byte_at(const Item& item, int bit) {
  return static_cast<uint32_t>(bits_of(item) >> bit) & 0xff;
}

// Turns counts into places.
template <typename Count>
void make_places(Count* counts) {
  Count place = 0;
  for (int64_t b = 0; b < kRadixCounts; ++b) {
    place += std::exchange(counts[b], place);
  }
}

template <typename Item, typename Count>
void scatter(const Item* from, int64_t n, int bit, Count* places, Item* to) {
  for (int64_t i = 0; i < n; ++i) {
    to[places[byte_at(from[i], bit)]++] = from[i];
  }
}

} // namespace

template <typename Item>
Item* radix_sort(Item* items, int64_t n, Item* spare, RadixBytes bytes) {
  if (n < kFewItems * bytes.bytes) {
    std::sort(items, items + n, [](const Item& a, const Item& b) { return is_before(a, b); });
    return items;
  }
  int64_t counts[8][kRadixCounts];
  std::memset(counts, 0, sizeof(counts[0]) * static_cast<size_t>(bytes.bytes));
  for (int64_t i = 0; i < n; ++i) {
    uint64_t key = bits_of(items[i]) >> bytes.first_bit;
    for (int byte = 0; byte < bytes.bytes; ++byte, key >>= 8) {
      ++counts[byte][key & 0xff];
    }
  }
  for (int byte = 0; byte < bytes.bytes; ++byte) {
    const int bit = bytes.first_bit + 8 * byte;
    if (counts[byte][byte_at(items[0], bit)] == n) {
      continue; // all keys have the same byte
    }
    make_places(counts[byte]);
    scatter(items, n, bit, counts[byte], spare);
    std::swap(items, spare);
  }
  return items;
}

template <typename Item>
Item* radix_sort_shared(Item* items, int64_t n, Item* spare, RadixBytes bytes, int64_t* counts) {
  const int64_t pieces = thread_count();
  const auto each_piece = [&](auto&& run) {
    parallel_for(pieces, 1, [&](int64_t first, int64_t last) {
      for (int64_t piece = first; piece < last; ++piece) {
        run(n * piece / pieces, n * (piece + 1) / pieces, counts + piece * kRadixCounts);
      }
    });
  };
  for (int byte = 0; byte < bytes.bytes; ++byte) {
    const int bit = bytes.first_bit + 8 * byte;
    each_piece([&](int64_t begin, int64_t end, int64_t* own) {
      std::fill_n(own, kRadixCounts, 0);
      for (int64_t i = begin; i < end; ++i) {
        ++own[byte_at(items[i], bit)];
      }
    });
    // For each byte, elements of earlier pieces come first.
    int64_t place = 0;
    bool is_one = false;
    for (int64_t b = 0; b < kRadixCounts; ++b) {
      const int64_t before = place;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        place += std::exchange(counts[piece * kRadixCounts + b], place);
      }
      is_one |= place - before == n;
    }
    if (is_one) {
      continue;
    }
    each_piece([&](int64_t begin, int64_t end, int64_t* own) {
      scatter(items + begin, end - begin, bit, own, spare);
    });
    std::swap(items, spare);
  }
  return items;
}

int64_t radix_counts_size() {
  return thread_count() * kRadixCounts * static_cast<int64_t>(sizeof(int64_t));
}

template <typename Key>
Selected radix_select(const Key* keys, int64_t n, int64_t kth, Key* spare) {
  Selected result{0, 0, 0};
  for (int bit = 8 * static_cast<int>(sizeof(Key)) - 8;; bit -= 8) {
    int64_t counts[kRadixCounts] = {};
    for (int64_t i = 0; i < n; ++i) {
      ++counts[byte_at(keys[i], bit)];
    }
    uint32_t byte = 0;
    for (int64_t below = result.below; below + counts[byte] <= kth; ++byte) {
      below += counts[byte];
      result.below = below;
    }
    result.key |= uint64_t{byte} << bit;
    if (bit == 0) {
      result.equal = counts[byte];
      return result;
    }
    if (counts[byte] == n) {
      continue;
    }
    // The keys that remain candidates. If it reads and writes the same memory, it writes behind
    // what it has read.
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Key key = keys[i];
      spare[kept] = key;
      kept += byte_at(key, bit) == byte ? 1 : 0;
    }
    keys = spare;
    n = kept;
  }
}

#define NARROWS_SORTED(Item)                                          \
  template Item* radix_sort(Item*, int64_t, Item*, RadixBytes bytes); \
  template Item* radix_sort_shared(Item*, int64_t, Item*, RadixBytes bytes, int64_t*);
NARROWS_SORTED(uint8_t)
NARROWS_SORTED(uint16_t)
NARROWS_SORTED(uint32_t)
NARROWS_SORTED(uint64_t)
NARROWS_SORTED(WideEntry)
#undef NARROWS_SORTED

template Selected radix_select(const uint8_t*, int64_t, int64_t, uint8_t*);
template Selected radix_select(const uint16_t*, int64_t, int64_t, uint16_t*);
template Selected radix_select(const uint32_t*, int64_t, int64_t, uint32_t*);
template Selected radix_select(const uint64_t*, int64_t, int64_t, uint64_t*);

} // namespace narrows::cpu
