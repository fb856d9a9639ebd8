#include <algorithm>
#include <cstring>

#include "metal_kernels/random_bits.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

ThreefryWords threefry_words() {
  return NARROWS_AT_BEST_ISA(threefry_words());
}

namespace {

// The least number of blocks of two words for a thread.
constexpr int64_t kThreadBlocks = 1 << 13;

// The bytes of a key are those of 32-bit words; the last word is cut if their number is not a
// multiple of four. The words are in two halves, the first one a word longer if their number is
// odd. Block i gives word i of both halves, from the counter (i, i + length of the first half). An
// odd word is the first one of the block of counter (i, 0).
struct KeyBytes {
  uint32_t key0;
  uint32_t key1;
  int64_t bytes;
  char* out;

  int64_t words() const {
    return (bytes + 3) / 4;
  }
  int64_t blocks() const {
    return words() / 2;
  }
  int64_t first_half() const {
    return words() - blocks();
  }

  void write_blocks(ThreefryWords generate, int64_t begin, int64_t end) const {
    const auto distance = static_cast<uint32_t>(first_half());
    char* low = out + 4 * begin;
    char* high = out + 4 * (begin + first_half());
    const bool cut = end == blocks() && bytes % 4 != 0;
    const int64_t whole = end - begin - (cut ? 1 : 0);
    generate(key0, key1, static_cast<uint32_t>(begin), distance, whole, low, high);
    if (cut) {
      uint32_t last[2];
      const auto counter = static_cast<uint32_t>(end - 1);
      generate(key0, key1, counter, distance, 1, &last[0], &last[1]);
      std::memcpy(low + 4 * whole, &last[0], 4);
      std::memcpy(high + 4 * whole, &last[1], bytes % 4);
    }
  }

  void write_odd_word(ThreefryWords generate) const {
    if (words() % 2 == 0) {
      return;
    }
    uint32_t block[2];
    const auto counter = static_cast<uint32_t>(blocks());
    generate(key0, key1, counter, 0u - counter, 1, &block[0], &block[1]);
    const int64_t offset = 4 * blocks();
    std::memcpy(out + offset, &block[0], std::min<int64_t>(4, bytes - offset));
  }
};

void run_random_bits(const KernelId&, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const RandomBitsParams*>(params);
  const auto* keys = static_cast<const uint32_t*>(operands[0]);
  auto* out = static_cast<char*>(operands[1]);
  const ThreefryWords generate = threefry_words();
  const auto key_bytes = [&](int64_t k) {
    return KeyBytes{keys[2 * k], keys[2 * k + 1], p.bytes_per_key, out + k * p.bytes_per_key};
  };
  if (p.bytes_per_key <= 0) {
    return;
  }
  if (p.keys < thread_count()) {
    for (int64_t k = 0; k < p.keys; ++k) {
      const KeyBytes key = key_bytes(k);
      parallel_for(key.blocks(), kThreadBlocks, [&](int64_t begin, int64_t end) {
        key.write_blocks(generate, begin, end);
      });
      key.write_odd_word(generate);
    }
    return;
  }
  const int64_t blocks = p.bytes_per_key / 8 + 1;
  parallel_for(
      p.keys, std::max<int64_t>(1, kThreadBlocks / blocks), [&](int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) {
          const KeyBytes key = key_bytes(k);
          if (key.blocks() > 0) {
            key.write_blocks(generate, 0, key.blocks());
          }
          key.write_odd_word(generate);
        }
      });
}

} // namespace

const Row random_bits_row = {run_random_bits};

} // namespace narrows::cpu
