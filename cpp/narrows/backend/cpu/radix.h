// Sorting and selection of keys by their bytes.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/kernels/sort_keys.h"

namespace narrows::cpu {

// What is sorted: keys, or entries of keys and places. `first_bit` is where the bits begin that
// decide, `bytes` how many bytes they are.
struct RadixBytes {
  int first_bit;
  int bytes;
};

// A count for each byte, of each thread.
inline constexpr int64_t kRadixCounts = 256;

// Sorts stably; entries of one key must come in the order of their places. `spare` has room for n
// more. Returns where the result is: `items` or `spare`.
template <typename Item>
Item* radix_sort(Item* items, int64_t n, Item* spare, RadixBytes bytes);

// The same on all threads. `counts`: kRadixCounts for each thread.
template <typename Item>
Item* radix_sort_shared(Item* items, int64_t n, Item* spare, RadixBytes bytes, int64_t* counts);

// How many bytes of counts radix_sort_shared() wants.
int64_t radix_counts_size();

struct Selected {
  uint64_t key;
  int64_t below; // how many keys are below
  int64_t equal; // how many are this one
};

// The k-th smallest of the keys. `spare` has room for n more.
template <typename Key>
Selected radix_select(const Key* keys, int64_t n, int64_t kth, Key* spare);

} // namespace narrows::cpu
