// Random bits by the counter-based generator threefry2x32 of 20 rounds: Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#include "common.h"

#include "random_bits.h"

METAL_FUNC void threefry_mix(thread uint& x0, thread uint& x1, uint by) {
  x0 += x1;
  x1 = ((x1 << by) | (x1 >> (32u - by))) ^ x0;
}

// Encrypts the counter x0, x1.
METAL_FUNC uint2 threefry(uint key0, uint key1, uint x0, uint x1) {
  const uint keys[3] = {key0, key1, key0 ^ key1 ^ 0x1bd11bdau};
  x0 += keys[0];
  x1 += keys[1];
  METAL_UNROLL
  for (uint round = 1; round <= 5; ++round) {
    const bool odd = round % 2 == 1;
    threefry_mix(x0, x1, odd ? 13u : 17u);
    threefry_mix(x0, x1, odd ? 15u : 29u);
    threefry_mix(x0, x1, odd ? 26u : 16u);
    threefry_mix(x0, x1, odd ? 6u : 24u);
    x0 += keys[round % 3];
    x1 += keys[(round + 1) % 3] + round;
  }
  return uint2(x0, x1);
}

// Word `index` of a key's bytes. The last word may be cut.
METAL_FUNC void store_word(device uint8_t* out, int64_t bytes, int64_t index, uint word) {
  for (int k = 0; k < 4 && 4 * index + k < bytes; ++k) {
    out[4 * index + k] = uint8_t(word >> (8 * k));
  }
}

// A key's words are in two halves, the first one a word longer if their number is odd. Block i
// gives word i of both halves, from the counter (i, i + length of the first half). An odd word is
// the first one of the block of counter (i, 0).
kernel void random_bits(
    device const uint* keys [[buffer(0)]],
    device uint8_t* out [[buffer(1)]],
    constant RandomBitsParams& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t words = (p.bytes_per_key + 3) / 4;
  const int64_t second_half = words / 2;
  const int64_t first_half = words - second_half;
  const int64_t number = thread_number(group, lid, threads);
  const int64_t key = number / first_half;
  if (key >= p.keys) {
    return;
  }
  const int64_t i = number - key * first_half;
  const bool whole = i < second_half;
  const uint2 block =
      threefry(keys[2 * key], keys[2 * key + 1], uint(i), whole ? uint(i + first_half) : 0u);
  device uint8_t* bytes = out + key * p.bytes_per_key;
  // Rows of words start at multiples of four bytes.
  if (p.bytes_per_key % 4 == 0) {
    device uint* row = (device uint*)bytes;
    row[i] = block.x;
    if (whole) {
      row[i + first_half] = block.y;
    }
    return;
  }
  store_word(bytes, p.bytes_per_key, i, block.x);
  if (whole) {
    store_word(bytes, p.bytes_per_key, i + first_half, block.y);
  }
}
REGISTER_KERNEL(random_bits)
