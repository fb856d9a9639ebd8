#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "metal_kernels/random_bits.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu {
namespace {

std::vector<uint8_t> random_bits(const std::vector<uint32_t>& keys, int64_t bytes_per_key) {
  const auto n_keys = static_cast<int64_t>(keys.size() / 2);
  std::vector<uint8_t> out(n_keys * bytes_per_key + 8, 0xa5);
  const RandomBitsParams p{n_keys, bytes_per_key};
  void* operands[] = {const_cast<uint32_t*>(keys.data()), out.data()};
  run({KernelFamily::random_bits, 0, uint32, uint32}, operands, &p);
  // Nothing is written beyond the end.
  for (size_t i = out.size() - 8; i < out.size(); ++i) {
    EXPECT_EQ(out[i], 0xa5);
  }
  out.resize(out.size() - 8);
  return out;
}

std::string hex(const std::vector<uint8_t>& bytes) {
  const char* digits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

struct Block {
  uint32_t words[2];
};

// One block, written like the generator's definition.
Block threefry(uint32_t key0, uint32_t key1, uint32_t x0, uint32_t x1) {
  const uint32_t keys[] = {key0, key1, 0x1bd11bda ^ key0 ^ key1};
  const int rotations[] = {13, 15, 26, 6, 17, 29, 16, 24};
  x0 += keys[0];
  x1 += keys[1];
  for (int round = 0; round < 20; ++round) {
    const int by = rotations[round % 8];
    x0 += x1;
    x1 = (x1 << by | x1 >> (32 - by)) ^ x0;
    if (round % 4 == 3) {
      const uint32_t step = static_cast<uint32_t>(round / 4 + 1);
      x0 += keys[step % 3];
      x1 += keys[(step + 1) % 3] + step;
    }
  }
  return {{x0, x1}};
}

// The vectors that the generator's authors publish.
TEST(Random, KnownAnswers) {
  struct Case {
    uint32_t key[2];
    uint32_t counter[2];
    uint32_t words[2];
  };
  const Case cases[] = {
      {{0, 0}, {0, 0}, {0x6b200159, 0x99ba4efe}},
      {{0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x1cb996fc, 0xbb002be7}},
      {{0x13198a2e, 0x03707344}, {0x243f6a88, 0x85a308d3}, {0xc4923a9c, 0x483df7a0}},
  };
  for (const Case& c : cases) {
    uint32_t low = 0;
    uint32_t high = 0;
    threefry_words()(c.key[0], c.key[1], c.counter[0], c.counter[1] - c.counter[0], 1, &low, &high);
    EXPECT_EQ(low, c.words[0]);
    EXPECT_EQ(high, c.words[1]);
    EXPECT_EQ(threefry(c.key[0], c.key[1], c.counter[0], c.counter[1]).words[0], c.words[0]);
  }
}

// Streams of key (0, 42) that must not change: results of seeded programs depend on them.
TEST(Random, KnownStreams) {
  struct Case {
    int64_t bytes;
    const char* hex;
  };
  const Case cases[] = {
      {1, "8f"},
      {2, "8f04"},
      {3, "8f043e"},
      {4, "8f043e6d"},
      {5, "2db3d703f4"},
      {6, "2db3d703f483"},
      {7, "2db3d703f483d0"},
      {9, "ea20fb926ff8a31913"},
      {10, "ea20fb926ff8a31913d9"},
      {11, "ea20fb926ff8a31913d938"},
      {13, "ea20fb92db984cdb13d9380f59"},
      {14, "ea20fb92db984cdb13d9380f5989"},
      {8, "2db3d703f483d0ad"},
      {12, "ea20fb926ff8a31913d9380f"},
      {20, "4669d5ba897c83de74c3493291a84b35629bc62f"},
      {22, "4669d5ba897c83dedf114fdf91a84b35629bc62f9797"},
      {26, "e3ae13b066027e998543e44388763364f6dd4ec39fcdeb4817f8"},
      {28, "e3ae13b066027e998543e44388763364f6dd4ec39fcdeb4817f8560a"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(hex(random_bits({0, 42}, c.bytes)), c.hex) << c.bytes;
  }
}

// Words i and i + half come from counter (i, i + half), half rounded up; the middle one of an odd
// number of words from counter (i, 0).
std::vector<uint8_t> expected_bits(uint32_t key0, uint32_t key1, int64_t bytes) {
  const int64_t words = (bytes + 3) / 4;
  const auto half = static_cast<uint32_t>((words + 1) / 2);
  std::vector<uint8_t> out(4 * words);
  const auto put = [&](int64_t i, uint32_t word) {
    for (int k = 0; k < 4; ++k) {
      out[4 * i + k] = static_cast<uint8_t>(word >> (8 * k));
    }
  };
  for (uint32_t i = 0; i < words / 2; ++i) {
    const Block block = threefry(key0, key1, i, i + half);
    put(i, block.words[0]);
    put(i + half, block.words[1]);
  }
  if (words % 2 != 0) {
    put(half - 1, threefry(key0, key1, half - 1, 0).words[0]);
  }
  out.resize(bytes);
  return out;
}

TEST(Random, EveryLength) {
  for (int64_t bytes = 1; bytes <= 700; ++bytes) {
    ASSERT_EQ(random_bits({7, 9}, bytes), expected_bits(7, 9, bytes)) << bytes;
  }
  for (const int64_t bytes : {65536, 131072, 131075, 1000001}) {
    ASSERT_EQ(random_bits({7, 9}, bytes), expected_bits(7, 9, bytes)) << bytes;
  }
}

TEST(Random, ManyKeys) {
  for (const int64_t n_keys : {0, 1, 2, 3, 5000}) {
    for (const int64_t bytes : {0, 1, 4, 7, 8, 16, 33}) {
      std::vector<uint32_t> keys;
      std::vector<uint8_t> expected;
      for (int64_t k = 0; k < n_keys; ++k) {
        const auto key = static_cast<uint32_t>(k);
        keys.insert(keys.end(), {key * 77u, ~key});
        const std::vector<uint8_t> of_key = expected_bits(key * 77u, ~key, bytes);
        expected.insert(expected.end(), of_key.begin(), of_key.end());
      }
      ASSERT_EQ(random_bits(keys, bytes), expected) << n_keys << " keys, " << bytes << " bytes";
    }
  }
}

#if defined(__x86_64__)
// The calls above run the best instruction set; these loops run all of them.
TEST(Random, InstructionSetsAgree) {
  const ThreefryWords words[] = {v2::threefry_words(), v3::threefry_words(), v4::threefry_words()};
  for (int level = 2; level <= cpu_isa_level(); ++level) {
    uint32_t low[77];
    uint32_t high[77];
    words[level - 2](3, 4, 100, 1000, 77, low, high);
    for (uint32_t i = 0; i < 77; ++i) {
      const Block block = threefry(3, 4, 100 + i, 1100 + i);
      ASSERT_EQ(low[i], block.words[0]) << "v" << level;
      ASSERT_EQ(high[i], block.words[1]) << "v" << level;
    }
  }
}
#endif

} // namespace
} // namespace narrows::cpu
