// Sorts keys of 32 bits in place, by vectors: parts them at a key again and again, and few by a
// network of comparisons.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

struct KeySort {
  void (*sort)(uint32_t* keys, int64_t n);
  // The key that has place `kth` in the order gets there; no key before it is larger, none behind
  // it smaller.
  void (*select)(uint32_t* keys, int64_t n, int64_t kth);
  // A key from about the middle of the order.
  uint32_t (*middle)(const uint32_t* keys, int64_t n);
  // Puts the keys below `key` first, and returns how many they are.
  int64_t (*part)(uint32_t* keys, int64_t n, uint32_t key);
};

// For this process's instruction set, or nullptr: not all of them have what this takes.
const KeySort* key_sort();

#define NARROWS_DECLARE_KEY_SORT(isa) \
  namespace isa {                     \
  const KeySort* key_sort();          \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_KEY_SORT)
#undef NARROWS_DECLARE_KEY_SORT

} // namespace narrows::cpu
