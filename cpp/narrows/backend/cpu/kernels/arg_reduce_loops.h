// Loops that find the first place of an extreme element.
#pragma once

#include "narrows/backend/cpu/kernels/reduce_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Short enough to stay in the first-level cache for the second look at it.
constexpr int64_t kSearchBlock = 2048;
constexpr int kSearchGroup = 64;

// The first place of `key`, or of a NaN if key is NaN, among n elements that have one.
template <typename Key, typename In>
NARROWS_INLINE int64_t find_first(const In* in, int64_t n, Key key) {
  int64_t i = 0;
  if constexpr (!kIsComplex<Key>) {
    constexpr int N = kLanes<Key>;
    const auto wanted = splat<Key, N>(key);
    for (; i + kSearchGroup <= n; i += kSearchGroup) {
      auto found = wanted < wanted;
      for (int j = 0; j < kSearchGroup; j += N) {
        const auto x = load_lanes<Key, N>(in + i + j);
        found |= key != key ? x != x : x == wanted;
      }
      uint64_t words[kVectorBytes / 8];
      std::memcpy(words, &found, sizeof(words));
      uint64_t any = 0;
      for (const uint64_t word : words) {
        any |= word;
      }
      if (any != 0) {
        break;
      }
    }
  }
  for (; i < n; ++i) {
    const Key x = widen<Key>(in[i]);
    if constexpr (kIsComplex<Key>) {
      if (is_nan(key) ? is_nan(x) : x.re == key.re && x.im == key.im) {
        break;
      }
    } else if (x == key || (key != key && x != x)) {
      break;
    }
  }
  return i;
}

template <typename Op, typename In>
struct ArgReduce {
  using Key = typename Op::T;

  static void begin(
      const void* from,
      int64_t kept,
      int64_t kept_stride,
      uint32_t index,
      void* to,
      uint32_t* indices) {
    const auto* in = static_cast<const In*>(from);
    auto* keys = static_cast<Key*>(to);
    for (int64_t k = 0; k < kept; ++k) {
      keys[k] = widen<Key>(in[k * kept_stride]);
      indices[k] = index;
    }
  }

  static void add(
      const void* from,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      uint32_t index,
      void* to,
      uint32_t* indices) {
    const auto* in = static_cast<const In*>(from);
    auto* keys = static_cast<Key*>(to);
    if (reduced_stride == 1) {
      for (int64_t k = 0; k < kept; ++k) {
        add_run(in + k * kept_stride, reduced, index, keys[k], indices[k]);
      }
    } else if (kept_stride == 1) {
      for (int64_t r = 0; r < reduced; ++r) {
        add_row(in + r * reduced_stride, kept, index + static_cast<uint32_t>(r), keys, indices);
      }
    } else {
      for (int64_t k = 0; k < kept; ++k) {
        const In* run = in + k * kept_stride;
        for (int64_t r = 0; r < reduced; ++r) {
          add_one(
              widen<Key>(run[r * reduced_stride]),
              index + static_cast<uint32_t>(r),
              keys[k],
              indices[k]);
        }
      }
    }
  }

  static NARROWS_INLINE void add_one(Key x, uint32_t at, Key& key, uint32_t& index) {
    if (Op::beyond(key, x)) {
      key = x;
      index = at;
    }
  }

  static void add_run(const In* run, int64_t n, uint32_t first, Key& key, uint32_t& index) {
    for (int64_t r = 0; r < n; r += kSearchBlock) {
      const int64_t block = n - r < kSearchBlock ? n - r : kSearchBlock;
      const Key extreme = reduce_run<Op>(run + r, block);
      if (Op::beyond(key, extreme)) {
        key = extreme;
        index = first + static_cast<uint32_t>(r + find_first(run + r, block, extreme));
      }
    }
  }

  static void add_row(const In* row, int64_t n, uint32_t at, Key* keys, uint32_t* indices) {
    int64_t j = 0;
    if constexpr (sizeof(Key) == sizeof(uint32_t)) {
      constexpr int N = kLanes<Key>;
      for (; j + N <= n; j += N) {
        const auto x = load_lanes<Key, N>(row + j);
        const auto key = load_as<Vector<Key, N>>(keys + j);
        const auto index = load_as<Vector<uint32_t, N>>(indices + j);
        auto beyond = Op::is_max() ? x > key : x < key;
        if constexpr (std::is_floating_point_v<Key>) {
          beyond |= (x != x) & (key == key);
        }
        store_lanes<N>(keys + j, beyond ? x : key);
        store_lanes<N>(indices + j, beyond ? splat<uint32_t, N>(at) : index);
      }
    }
    for (; j < n; ++j) {
      add_one(widen<Key>(row[j]), at, keys[j], indices[j]);
    }
  }

  static void merge(
      const void* from, const uint32_t* from_indices, int64_t n, void* to, uint32_t* indices) {
    const auto* in = static_cast<const Key*>(from);
    auto* keys = static_cast<Key*>(to);
    for (int64_t i = 0; i < n; ++i) {
      add_one(in[i], from_indices[i], keys[i], indices[i]);
    }
  }

  static constexpr ArgReduceTile tile() {
    return {sizeof(Key), begin, add, merge};
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
