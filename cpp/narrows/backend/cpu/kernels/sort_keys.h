// Sorting works on keys: unsigned integers that are in the order of the elements. Elements that are
// equal (0.0 and -0.0, all NaNs) have one key; NaN has the largest.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu {

// An element of eight bytes and its place. Of smaller ones both are in a uint64_t, the key above 32
// bits of place.
struct WideEntry {
  uint64_t key;
  uint64_t index;
};

// Elements that find_above() and find_below() look at together.
inline constexpr int64_t kSelectBlock = 64;

// So many entries are put in order by order_few().
inline constexpr int64_t kFewEntries = 64;

// Of one dtype.
struct SortKeys {
  int64_t key_size; // 1, 2, 4 or 8 bytes
  // The keys of n elements. Whether some of them are not what values() makes of their key.
  bool (*keys)(const void* in, int64_t n, void* keys);
  // The elements of n keys; out may be keys.
  void (*values)(const void* keys, int64_t n, void* out);
  // The elements of sorted keys are in `out`: where equal ones differ, puts them as they are in
  // `in`, in that order.
  void (*restore)(const void* in, int64_t n, void* out);
  // WideEntry or uint64_t. Places are counted from `first`.
  void (*entries)(const void* in, int64_t n, int64_t first, void* entries);
  // Few entries of eight bytes, no two of which are equal, in order. `to` is other memory. nullptr
  // where vectors have no comparison for it that is fast.
  void (*order_few)(const uint64_t* from, int64_t n, uint64_t* to);
  // Where the last whole block begins that has a key above `key`, or -1. Blocks are counted from
  // the end; at the beginning one may be shorter.
  int64_t (*find_above)(const void* in, int64_t n, uint64_t key);
  // Where the first block begins that has a key below `key`, or n.
  int64_t (*find_below)(const void* in, int64_t n, uint64_t key);
};

SortKeys sort_keys(Dtype dtype);

#define NARROWS_DECLARE_SORT_KEYS(isa) \
  namespace isa {                      \
  SortKeys sort_keys(Dtype dtype);     \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_SORT_KEYS)
#undef NARROWS_DECLARE_SORT_KEYS

} // namespace narrows::cpu
