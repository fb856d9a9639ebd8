#include "narrows/backend/cpu/kernels/key_sort.h"

#if defined(__AVX2__)
#include <immintrin.h>

#include <cstring>

#define NARROWS_INLINE inline __attribute__((always_inline))
#endif

namespace narrows::cpu::NARROWS_ISA {

#if defined(__AVX2__)
namespace {

using V = __m256i;
constexpr int64_t kLanes = 8;
constexpr int kNetworkVectors = 8;
constexpr int64_t kNetworkKeys = kNetworkVectors * kLanes; // so few are sorted by a network
constexpr int64_t kManyKeys = 1024; // of more keys the middle is looked for among more of them
constexpr int64_t kTogether = 4;    // vectors that part() takes from one end at a time
constexpr uint32_t kLargest = ~uint32_t{0};

NARROWS_INLINE V load(const uint32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
NARROWS_INLINE void store(uint32_t* to, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
}
NARROWS_INLINE V splat(uint32_t key) {
  return _mm256_set1_epi32(static_cast<int>(key));
}
NARROWS_INLINE V reversed(V v) {
  return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}

// Each lane keeps the smaller key of itself and of its partner, or the larger one where `larger`
// has a bit.
template <int larger>
NARROWS_INLINE V exchange(V v, V partners) {
  return _mm256_blend_epi32(_mm256_min_epu32(v, partners), _mm256_max_epu32(v, partners), larger);
}

// Sorts lanes that first ascend and then descend.
NARROWS_INLINE V merged(V v) {
  v = exchange<0xf0>(v, _mm256_permute2x128_si256(v, v, 1));
  v = exchange<0xcc>(v, _mm256_shuffle_epi32(v, 0x4e));
  return exchange<0xaa>(v, _mm256_shuffle_epi32(v, 0xb1));
}

NARROWS_INLINE V sorted(V v) {
  v = exchange<0xaa>(v, _mm256_shuffle_epi32(v, 0xb1));
  v = exchange<0xcc>(v, _mm256_shuffle_epi32(v, 0x1b));
  v = exchange<0xaa>(v, _mm256_shuffle_epi32(v, 0xb1));
  v = exchange<0xf0>(v, reversed(v));
  v = exchange<0xcc>(v, _mm256_shuffle_epi32(v, 0x4e));
  return exchange<0xaa>(v, _mm256_shuffle_epi32(v, 0xb1));
}

// The same of R vectors.
template <int R>
NARROWS_INLINE void merge_vectors(V* v) {
  if constexpr (R == 1) {
    v[0] = merged(v[0]);
  } else {
#pragma GCC unroll 4
    for (int i = 0; i < R / 2; ++i) {
      const V low = _mm256_min_epu32(v[i], v[i + R / 2]);
      v[i + R / 2] = _mm256_max_epu32(v[i], v[i + R / 2]);
      v[i] = low;
    }
    merge_vectors<R / 2>(v);
    merge_vectors<R / 2>(v + R / 2);
  }
}

template <int R>
NARROWS_INLINE void sort_vectors(V* v) {
  if constexpr (R == 1) {
    v[0] = sorted(v[0]);
  } else {
    sort_vectors<R / 2>(v);
    sort_vectors<R / 2>(v + R / 2);
    // The larger half is left descending, vector by vector: merging puts it in order.
    V high[R / 2];
#pragma GCC unroll 4
    for (int i = 0; i < R / 2; ++i) {
      high[i] = reversed(v[R - 1 - i]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < R / 2; ++i) {
      v[i + R / 2] = _mm256_max_epu32(v[i], high[i]);
      v[i] = _mm256_min_epu32(v[i], high[i]);
    }
    merge_vectors<R / 2>(v);
    merge_vectors<R / 2>(v + R / 2);
  }
}

// At most R vectors, of which the last ones may be incomplete or empty.
template <int R>
void sort_network(uint32_t* keys, int64_t n) {
  V v[R];
  const V places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    const int64_t left = n - i * kLanes;
    if (left >= kLanes) {
      v[i] = load(keys + i * kLanes);
    } else {
      const V there = _mm256_cmpgt_epi32(splat(left > 0 ? uint32_t(left) : 0), places);
      const V some = _mm256_maskload_epi32(reinterpret_cast<const int*>(keys + (n - left)), there);
      v[i] = _mm256_blendv_epi8(splat(kLargest), some, there);
    }
  }
  sort_vectors<R>(v);
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    const int64_t left = n - i * kLanes;
    if (left >= kLanes) {
      store(keys + i * kLanes, v[i]);
    } else if (left > 0) {
      const V there = _mm256_cmpgt_epi32(splat(uint32_t(left)), places);
      _mm256_maskstore_epi32(reinterpret_cast<int*>(keys + i * kLanes), there, v[i]);
    }
  }
}

void sort_few(uint32_t* keys, int64_t n) {
  if (n <= kLanes) {
    sort_network<1>(keys, n);
  } else if (n <= 2 * kLanes) {
    sort_network<2>(keys, n);
  } else if (n <= 4 * kLanes) {
    sort_network<4>(keys, n);
  } else {
    sort_network<kNetworkVectors>(keys, n);
  }
}

// For each set of lanes: the others first, then these.
struct Orders {
  uint8_t lanes[256][kLanes];

  constexpr Orders() : lanes{} {
    for (int set = 0; set < 256; ++set) {
      int place = 0;
      for (int chosen = 0; chosen < 2; ++chosen) {
        for (int lane = 0; lane < kLanes; ++lane) {
          if ((set >> lane & 1) == chosen) {
            lanes[set][place++] = static_cast<uint8_t>(lane);
          }
        }
      }
    }
  }
};
constexpr Orders kOrders;

// Where keys go: the memory between `low` and `high` is free.
struct Parting {
  uint32_t* low;
  uint32_t* high;
  V key;

  NARROWS_INLINE void put(V v) {
    const V above = _mm256_cmpeq_epi32(_mm256_max_epu32(v, key), v);
    const auto set = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(above)));
    const auto* order = reinterpret_cast<const __m128i*>(kOrders.lanes[set]);
    const V ordered = _mm256_permutevar8x32_epi32(v, _mm256_cvtepu8_epi32(_mm_loadl_epi64(order)));
    const int count = __builtin_popcount(set);
    // Each end takes the whole vector and keeps what belongs to it.
    store(low, ordered);
    store(high - kLanes, ordered);
    low += kLanes - count;
    high -= count;
  }
};

int64_t part(uint32_t* keys, int64_t n, uint32_t key) {
  uint32_t* left = keys;
  uint32_t* right = keys + n;
  const auto part_one = [&] {
    const uint32_t first = *left;
    if (first < key) {
      ++left;
    } else {
      *left = *--right;
      *right = first;
    }
  };
  constexpr int64_t kHeld = kTogether * kLanes;
  while ((right - left) % kLanes != 0 || (right > left && right - left < 2 * kHeld)) {
    part_one();
  }
  if (left == right) {
    return left - keys;
  }
  // Some vectors of both ends wait until the others have found their places.
  V held[2 * kTogether];
#pragma GCC unroll 4
  for (int64_t i = 0; i < kTogether; ++i) {
    held[i] = load(left + i * kLanes);
    held[kTogether + i] = load(right - (i + 1) * kLanes);
  }
  Parting to{left, right, splat(key)};
  left += kHeld;
  right -= kHeld;
  while (right - left >= kHeld) {
    // From the end that has less room: the other has enough.
    const bool from_left = left - to.low < to.high - right;
    right -= from_left ? 0 : kHeld;
    const uint32_t* from = from_left ? left : right;
    left += from_left ? kHeld : 0;
    V v[kTogether];
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTogether; ++i) {
      v[i] = load(from + i * kLanes);
    }
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTogether; ++i) {
      to.put(v[i]);
    }
  }
  while (right > left) {
    const bool from_left = left - to.low < to.high - right;
    right -= from_left ? 0 : kLanes;
    const V v = load(from_left ? left : right);
    left += from_left ? kLanes : 0;
    to.put(v);
  }
#pragma GCC unroll 8
  for (const V& v : held) {
    to.put(v);
  }
  return to.low - keys;
}

uint32_t middle(const uint32_t* keys, int64_t n) {
  uint32_t some[kNetworkKeys];
  const int64_t count = n < kManyKeys ? kLanes : kNetworkKeys;
  uint32_t state = static_cast<uint32_t>(n) * 2654435761u + 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    // A key of the i-th piece, wherever in it.
    const int64_t begin = n * i / count;
    const int64_t size = n * (i + 1) / count - begin;
    some[i] =
        keys[begin + static_cast<int64_t>(uint64_t{state} * static_cast<uint64_t>(size) >> 32)];
  }
  sort_few(some, count);
  return some[count / 2];
}

// Parts keys in two, neither of them empty, and returns where the second begins; or 0 where no key
// differs from the others. What equals the smallest key is one part, and is in order.
int64_t part_at_middle(uint32_t* keys, int64_t n, bool& equal) {
  const uint32_t key = middle(keys, n);
  int64_t begin = part(keys, n, key);
  equal = begin == 0;
  if (equal && key != kLargest) {
    begin = part(keys, n, key + 1);
    begin = begin == n ? 0 : begin;
  }
  return begin;
}

void heap_sort(uint32_t* keys, int64_t n) {
  const auto sink = [&](int64_t at, int64_t end) {
    const uint32_t key = keys[at];
    for (int64_t child = 2 * at + 1; child < end; child = 2 * at + 1) {
      child += child + 1 < end && keys[child] < keys[child + 1] ? 1 : 0;
      if (keys[child] <= key) {
        break;
      }
      keys[at] = keys[child];
      at = child;
    }
    keys[at] = key;
  };
  for (int64_t i = n / 2; i-- > 0;) {
    sink(i, n);
  }
  for (int64_t end = n; end-- > 1;) {
    const uint32_t largest = keys[0];
    keys[0] = keys[end];
    keys[end] = largest;
    sink(0, end);
  }
}

// After so many parts that left most keys together another way is taken.
int most_parts(int64_t n) {
  int bits = 0;
  for (; n > 0; n >>= 1) {
    ++bits;
  }
  return 4 * bits;
}

void sort_parts(uint32_t* keys, int64_t n, int parts) {
  while (n > kNetworkKeys) {
    if (parts-- == 0) {
      return heap_sort(keys, n);
    }
    bool equal = false;
    const int64_t begin = part_at_middle(keys, n, equal);
    if (begin == 0) {
      return;
    }
    if (equal) {
      keys += begin;
      n -= begin;
    } else if (begin < n - begin) {
      sort_parts(keys, begin, parts);
      keys += begin;
      n -= begin;
    } else {
      sort_parts(keys + begin, n - begin, parts);
      n = begin;
    }
  }
  sort_few(keys, n);
}

void sort(uint32_t* keys, int64_t n) {
  sort_parts(keys, n, most_parts(n));
}

void select(uint32_t* keys, int64_t n, int64_t kth) {
  for (int parts = most_parts(n); n > kNetworkKeys; --parts) {
    if (parts == 0) {
      return heap_sort(keys, n);
    }
    bool equal = false;
    const int64_t begin = part_at_middle(keys, n, equal);
    if (begin == 0 || (equal && kth < begin)) {
      return;
    }
    if (kth < begin) {
      n = begin;
    } else {
      keys += begin;
      n -= begin;
      kth -= begin;
    }
  }
  sort_few(keys, n);
}

constexpr KeySort kKeySort = {sort, select, middle, part};

} // namespace

const KeySort* key_sort() {
  return &kKeySort;
}

#else

const KeySort* key_sort() {
  return nullptr;
}

#endif

} // namespace narrows::cpu::NARROWS_ISA
