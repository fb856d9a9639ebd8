// The counter-based generator threefry2x32 of 20 rounds: Salmon, Moraes, Dror, Shaw, "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include "narrows/backend/cpu/kernels/lanes.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

template <int kBy, typename V>
NARROWS_INLINE V rotated(V v) {
  return (v << kBy) | (v >> (32 - kBy));
}

template <int kBy, typename V>
NARROWS_INLINE void mix(V& x0, V& x1) {
  x0 += x1;
  x1 = rotated<kBy>(x1) ^ x0;
}

// Encrypts counters x0, x1 in place.
template <typename V>
NARROWS_INLINE void threefry(uint32_t key0, uint32_t key1, V& x0, V& x1) {
  const uint32_t keys[3] = {key0, key1, key0 ^ key1 ^ 0x1bd11bdau};
  x0 += keys[0];
  x1 += keys[1];
#pragma GCC unroll 5
  for (uint32_t group = 1; group <= 5; ++group) {
    if (group % 2 == 1) {
      mix<13>(x0, x1);
      mix<15>(x0, x1);
      mix<26>(x0, x1);
      mix<6>(x0, x1);
    } else {
      mix<17>(x0, x1);
      mix<29>(x0, x1);
      mix<16>(x0, x1);
      mix<24>(x0, x1);
    }
    x0 += keys[group % 3];
    x1 += keys[(group + 1) % 3] + group;
  }
}

void threefry_blocks(
    uint32_t key0,
    uint32_t key1,
    uint32_t first,
    uint32_t distance,
    int64_t n,
    void* low,
    void* high) {
  auto* to_low = static_cast<char*>(low);
  auto* to_high = static_cast<char*>(high);
  constexpr int N = kLanes<uint32_t>;
  using V = Vector<uint32_t, N>;
  V lane;
  for (int k = 0; k < N; ++k) {
    lane[k] = static_cast<uint32_t>(k);
  }
  int64_t i = 0;
  // Two vectors at a time, because each step of one waits for the one before.
  for (; i + 2 * N <= n; i += 2 * N) {
    V a0 = lane + (first + static_cast<uint32_t>(i));
    V b0 = a0 + static_cast<uint32_t>(N);
    V a1 = a0 + distance;
    V b1 = b0 + distance;
    threefry(key0, key1, a0, a1);
    threefry(key0, key1, b0, b1);
    std::memcpy(to_low + 4 * i, &a0, sizeof(V));
    std::memcpy(to_low + 4 * i + sizeof(V), &b0, sizeof(V));
    std::memcpy(to_high + 4 * i, &a1, sizeof(V));
    std::memcpy(to_high + 4 * i + sizeof(V), &b1, sizeof(V));
  }
  for (; i < n; ++i) {
    uint32_t x0 = first + static_cast<uint32_t>(i);
    uint32_t x1 = x0 + distance;
    threefry(key0, key1, x0, x1);
    std::memcpy(to_low + 4 * i, &x0, sizeof(x0));
    std::memcpy(to_high + 4 * i, &x1, sizeof(x1));
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
