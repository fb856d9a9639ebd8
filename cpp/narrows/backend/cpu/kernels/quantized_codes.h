// From packed codes to numbers and back, eight at a time.
#pragma once

#include <cstddef>

#include "narrows/backend/cpu/kernels/lanes.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

using Floats = Vector<float, 8>;
using Words = Vector<uint32_t, 8>;

// a * b + c, rounded once where the processor can do that.
NARROWS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__FMA__)
  return bits_as<Floats>(
      _mm256_fmadd_ps(bits_as<__m256>(a), bits_as<__m256>(b), bits_as<__m256>(c)));
#else
  return a * b + c;
#endif
}

NARROWS_INLINE float sum_of(Floats x) {
  const float a = (x[0] + x[4]) + (x[2] + x[6]);
  const float b = (x[1] + x[5]) + (x[3] + x[7]);
  return a + b;
}

// The low bytes of four times eight words.
NARROWS_INLINE Vector<uint8_t, 32> low_bytes(const Words (&words)[4]) {
#if defined(__AVX2__)
  const auto of = [&](int i) { return bits_as<__m256i>(words[i]); };
  const __m256i bytes =
      _mm256_packus_epi16(_mm256_packus_epi32(of(0), of(1)), _mm256_packus_epi32(of(2), of(3)));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return bits_as<Vector<uint8_t, 32>>(_mm256_permutevar8x32_epi32(bytes, order));
#else
  Vector<uint8_t, 32> bytes;
  for (int i = 0; i < 32; ++i) {
    bytes[i] = static_cast<uint8_t>(words[i / 8][i % 8]);
  }
  return bytes;
#endif
}

// Eight bytes as words.
NARROWS_INLINE Words words_of_bytes(const void* bytes) {
#if defined(__AVX2__)
  const auto* eight = static_cast<const __m128i*>(bytes);
  return bits_as<Words>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(eight)));
#else
  const auto low = load_as<uint32_t>(bytes);
  const auto high = load_as<uint32_t>(static_cast<const std::byte*>(bytes) + 4);
  const Words words = {low, low, low, low, high, high, high, high};
  return words >> Words{0, 8, 16, 24, 0, 8, 16, 24} & 0xffu;
#endif
}

// Codes of kBits bits in blocks of 8 * kOctets, which are whole words.
template <int kBits, int kOctets>
struct PackedCodes {
  static constexpr int kBytes = kBits * kOctets; // of a block
  static constexpr uint32_t kMask = (1u << kBits) - 1;

  // Codes [first, first + count), which 32 bits hold, are the bits from `shift` on of the word at
  // byte `offset` of the block. The word lies within the block.
  struct Place {
    int offset;
    int shift;
  };
  static constexpr Place place_of(int first) {
    const int bit = first * kBits;
    const int offset = bit / 8 < kBytes - 4 ? bit / 8 : kBytes - 4;
    return {offset, bit - 8 * offset};
  }

  template <int j>
  static NARROWS_INLINE Words octet(const std::byte* block) {
    if constexpr (kBits == 8) {
      return words_of_bytes(block + 8 * j);
    } else if constexpr (8 * kBits <= 32) {
      constexpr Place kPlace = place_of(8 * j);
      constexpr uint32_t s = kPlace.shift;
      constexpr uint32_t b = kBits;
      const Words words = splat<uint32_t, 8>(load_as<uint32_t>(block + kPlace.offset));
      const Words shifts = {
          s, s + b, s + 2 * b, s + 3 * b, s + 4 * b, s + 5 * b, s + 6 * b, s + 7 * b};
      return words >> shifts & kMask;
    } else {
      constexpr Place kLow = place_of(8 * j);
      constexpr Place kHigh = place_of(8 * j + 4);
      constexpr uint32_t s = kLow.shift;
      constexpr uint32_t t = kHigh.shift;
      constexpr uint32_t b = kBits;
      const auto low = load_as<uint32_t>(block + kLow.offset);
      const auto high = load_as<uint32_t>(block + kHigh.offset);
      const Words words = {low, low, low, low, high, high, high, high};
      const Words shifts = {s, s + b, s + 2 * b, s + 3 * b, t, t + b, t + 2 * b, t + 3 * b};
      return words >> shifts & kMask;
    }
  }

  // A block of codes. Of each eight, which are bytes of a word, neighbours are joined, then pairs,
  // then fours.
  static NARROWS_INLINE void store(const Words (&codes)[4], std::byte* to) {
    using Eights = Vector<uint64_t, 4>;
    Eights eights = bits_as<Eights>(low_bytes(codes));
    if constexpr (kBits < 8) {
      constexpr uint64_t kOne = kMask * 0x0001000100010001u;
      constexpr uint64_t kTwo = ((uint64_t{1} << 2 * kBits) - 1) * 0x0000000100000001u;
      constexpr uint64_t kFour = (uint64_t{1} << 4 * kBits) - 1;
      eights = (eights & kOne) | (eights >> (8 - kBits) & kOne << kBits);
      eights = (eights & kTwo) | (eights >> (16 - 2 * kBits) & kTwo << 2 * kBits);
      eights = (eights & kFour) | (eights >> (32 - 4 * kBits) & kFour << 4 * kBits);
    }
    for (int i = 0; i < kOctets; ++i) {
      const uint64_t eight = eights[i];
      std::memcpy(to + i * kBits, &eight, kBits);
    }
  }
};

// Stored elements as floats, by their dtype: float16, bfloat16 or float32.
template <typename Use>
NARROWS_INLINE void with_stored(const void* from, Dtype dtype, Use&& use) {
  if (dtype == Dtype::float16) {
    use(static_cast<const Half*>(from));
  } else if (dtype == Dtype::bfloat16) {
    use(static_cast<const Bfloat*>(from));
  } else {
    use(static_cast<const float*>(from));
  }
}
template <typename Use>
NARROWS_INLINE void with_stored(void* to, Dtype dtype, Use&& use) {
  if (dtype == Dtype::float16) {
    use(static_cast<Half*>(to));
  } else if (dtype == Dtype::bfloat16) {
    use(static_cast<Bfloat*>(to));
  } else {
    use(static_cast<float*>(to));
  }
}

// Not inlined: it is called in many loops, seldom in each.
[[gnu::noinline]] void load_floats(
    const void* from, Dtype dtype, int64_t first, int64_t count, float* to) {
  with_stored(from, dtype, [&](const auto* stored) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
      store_lanes<8>(to + i, load_lanes<float, 8>(stored + first + i));
    }
    for (; i < count; ++i) {
      to[i] = widen<float>(stored[first + i]);
    }
  });
}

NARROWS_INLINE Floats as_floats(Words codes) {
  return __builtin_convertvector(bits_as<Vector<int32_t, 8>>(codes), Floats);
}
// The nearest integers of numbers in [0, 2^22), ties to even.
NARROWS_INLINE Words rounded(Floats x) {
  return bits_as<Words>(x + 0x1p23f) & 0x7fffffu;
}
NARROWS_INLINE Floats smaller(Floats a, Floats b) {
  return a < b ? a : b;
}
NARROWS_INLINE Floats larger(Floats a, Floats b) {
  return a > b ? a : b;
}
NARROWS_INLINE Floats magnitudes(Floats x) {
  return bits_as<Floats>(bits_as<Words>(x) & 0x7fffffffu);
}
NARROWS_INLINE Words signs(Floats x) {
  return bits_as<Words>(x) & 0x80000000u;
}
NARROWS_INLINE float largest_of(Floats x) {
  using Order = Vector<int32_t, 8>;
  x = larger(x, __builtin_shuffle(x, Order{4, 5, 6, 7, 0, 1, 2, 3}));
  x = larger(x, __builtin_shuffle(x, Order{2, 3, 0, 1, 6, 7, 4, 5}));
  return x[0] > x[1] ? x[0] : x[1];
}

// How the numbers of a group follow from their codes, and the codes from the numbers.

// Unsigned integers, with a scale and a bias in the numbers' dtype.
template <int bits>
struct AffineCodes : PackedCodes<bits, 4> {
  static constexpr int kBits = bits;
  static constexpr int kOctets = 4;
  static constexpr bool kHasBias = true;
  static constexpr bool kSixteens = false;

  float scale;
  float bias;

  static NARROWS_INLINE Floats number(Words codes) {
    return as_floats(codes);
  }
  static void load_scales(const void* from, Dtype dtype, int64_t first, int64_t count, float* to) {
    load_floats(from, dtype, first, count, to);
  }

  // The end of the range with the larger magnitude is met exactly; zero, too, with two bits or
  // more.
  static NARROWS_INLINE AffineCodes of(Floats lowest, Floats highest) {
    const float low = -largest_of(-lowest);
    const float high = largest_of(highest);
    constexpr float kSmallest = 1e-7f;
    constexpr auto kSteps = static_cast<float>((1u << bits) - 1);
    const float step = (high - low) / kSteps;
    AffineCodes result;
    result.scale = step > kSmallest ? step : kSmallest;
    if constexpr (bits == 1) {
      result.bias = low;
      return result;
    }
    const bool from_low = __builtin_fabsf(low) > __builtin_fabsf(high);
    const float edge = from_low ? low : high;
    result.scale = from_low ? result.scale : -result.scale;
    const float steps = __builtin_rintf(edge / result.scale);
    result.bias = steps != 0 ? edge : 0;
    result.scale = steps != 0 ? edge / steps : result.scale;
    return result;
  }
  NARROWS_INLINE Words encode(Floats x) const {
    constexpr auto kMost = static_cast<float>((1u << bits) - 1);
    const Floats steps = (x - bias) / scale;
    return rounded(larger(smaller(steps, splat<float, 8>(kMost)), Floats{}));
  }
  template <typename Stored>
  NARROWS_INLINE void store_scales(void* scales, void* biases, int64_t at) const {
    static_cast<Stored*>(scales)[at] = narrow<Stored>(scale);
    static_cast<Stored*>(biases)[at] = narrow<Stored>(bias);
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
