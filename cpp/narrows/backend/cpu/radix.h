// Sorting and selection of keys, byte by byte.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/kernels/sort_keys.h"

namespace narrows::cpu {

// What is sorted: keys, or entries of keys and places. The deciding bits begin at `first_bit` and
// have `bytes` bytes.
struct RadixBytes {
  int first_bit;
  int bytes;
};

// A count for each byte, for each thread.
inline constexpr int64_t kRadixCounts = 256;

// Sorts stably. Entries of one key must be in the order of their places. `spare` has room for n
// items. Returns where the result is: `items` or `spare`.
template <typename Item>
Item* radix_sort(Item* items, int64_t n, Item* spare, RadixBytes bytes);

// The same on all threads. `counts`: kRadixCounts for each thread.
template <typename Item>
Item* radix_sort_shared(Item* items, int64_t n, Item* spare, RadixBytes bytes, int64_t* counts);

// The bytes of counts that radix_sort_shared() needs.
int64_t radix_counts_size();

struct Selected {
  uint64_t key;
  int64_t below; // the number of smaller keys
  int64_t equal; // the number of equal keys
};

// The k-th smallest key. `spare` has room for n keys.
template <typename Key>
Selected radix_select(const Key* keys, int64_t n, int64_t kth, Key* spare);

} // namespace narrows::cpu
