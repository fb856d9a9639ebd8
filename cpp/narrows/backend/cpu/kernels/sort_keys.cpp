#include "narrows/backend/cpu/kernels/sort_keys.h"

#include <type_traits>

namespace narrows::cpu::NARROWS_ISA {
namespace {

template <typename Bits>
constexpr Bits kSign = Bits(Bits(1) << (8 * sizeof(Bits) - 1));

// Each has the type that its elements are read as, the key of an element, the element of a key, and
// whether values that are equal have the same bits.
template <typename Type>
struct Unsigned {
  using Bits = Type;
  using Key = Type;
  static constexpr bool kSameBits = true;
  static Key key(Bits x) {
    return x;
  }
  static Bits value(Key key) {
    return key;
  }
};

template <typename Type>
struct Signed {
  using Bits = Type;
  using Key = Type;
  static constexpr bool kSameBits = true;
  static Key key(Bits x) {
    return Key(x ^ kSign<Key>);
  }
  static Bits value(Key key) {
    return Bits(key ^ kSign<Key>);
  }
};

// `infinity`: its bits.
template <typename Type, Type infinity>
struct Floating {
  using Bits = Type;
  using Key = Type;
  using SignedBits = std::make_signed_t<Bits>;
  static constexpr bool kSameBits = false;
  static bool is_nan(Bits x) {
    return SignedBits(x & Bits(~kSign<Bits>)) > SignedBits(infinity);
  }
  static bool is_zero(Bits x) {
    return Bits(x & Bits(~kSign<Bits>)) == 0;
  }
  // Without branches, so that loops become vectors.
  static Key key(Bits x) {
    const auto ordered = Key(x ^ Bits(all_if_negative(x) | kSign<Bits>)); // -0.0 is next to 0.0
    const auto nan = Key(-Key(is_nan(x)));
    return Key(Key(ordered + Key(x == kSign<Bits>)) | nan);
  }
  static Bits value(Key key) {
    return Bits(key ^ Bits(Bits(~all_if_negative(key)) | kSign<Bits>));
  }

 private:
  static Bits all_if_negative(Bits x) {
    return Bits(SignedBits(x) >> (8 * sizeof(Bits) - 1));
  }
};

using Float32 = Floating<uint32_t, 0x7f800000>;

// By the real part, then by the imaginary one.
struct ComplexFloat {
  struct Bits {
    uint32_t re;
    uint32_t im;
  };
  using Key = uint64_t;
  static constexpr bool kSameBits = false;
  static Key key(Bits x) {
    const Key ordered = Key(Float32::key(x.re)) << 32 | Float32::key(x.im);
    return Float32::is_nan(x.re) || Float32::is_nan(x.im) ? ~Key(0) : ordered;
  }
  static Bits value(Key key) {
    return {Float32::value(uint32_t(key >> 32)), Float32::value(uint32_t(key))};
  }
};

#if defined(__AVX2__)
// Each entry's place is the number of smaller ones. All comparisons are made, without a branch.
void order_few(const uint64_t* from, int64_t n, uint64_t* to) {
  using V = int64_t __attribute__((vector_size(32)));
  constexpr int64_t kLanes = 4;
  constexpr int64_t kTogether = 4; // vectors
  constexpr int64_t kBlock = kTogether * kLanes;
  // Vectors compare signed numbers. The last block is filled up with any numbers.
  V entries[kFewEntries / kLanes] = {};
  for (int64_t i = 0; i < n; ++i) {
    entries[i / kLanes][i % kLanes] = int64_t(from[i] ^ kSign<uint64_t>);
  }
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const V* block = entries + begin / kLanes;
    V places[kTogether] = {};
    for (int64_t j = 0; j < n; ++j) {
      const int64_t other = entries[j / kLanes][j % kLanes];
#pragma GCC unroll 4
      for (int64_t k = 0; k < kTogether; ++k) {
        places[k] -= block[k] > other; // true is -1
      }
    }
    const int64_t count = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < count; ++i) {
      to[places[i / kLanes][i % kLanes]] = from[begin + i];
    }
  }
}
#else
constexpr void (*order_few)(const uint64_t*, int64_t, uint64_t*) = nullptr;
#endif

template <typename Element>
struct Loops {
  using Bits = typename Element::Bits;
  using Key = typename Element::Key;

  static bool keys(const void* in_bytes, int64_t n, void* out) {
    const auto* in = static_cast<const Bits*>(in_bytes);
    auto* to = static_cast<Key*>(out);
    Key differs = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Bits x = in[i];
      to[i] = Element::key(x);
      if constexpr (
          !Element::kSameBits && sizeof(Bits) == sizeof(Key) && !__is_same(Element, ComplexFloat)) {
        differs |= Key(x ^ Element::value(Element::key(x)));
      }
    }
    return differs != 0;
  }

  static void values(const void* keys, int64_t n, void* out) {
    const auto* from = static_cast<const Key*>(keys);
    auto* to = static_cast<Bits*>(out);
    for (int64_t i = 0; i < n; ++i) {
      to[i] = Element::value(from[i]);
    }
  }

  static void restore(const void* in_bytes, int64_t n, void* out_bytes) {
    if constexpr (!Element::kSameBits && !__is_same(Element, ComplexFloat)) {
      const auto* in = static_cast<const Bits*>(in_bytes);
      auto* out = static_cast<Bits*>(out_bytes);
      int64_t zero = first_of(out, n, Element::key(0));
      int64_t nan = first_of(out, n, Key(~Key(0)));
      for (int64_t i = 0; i < n; ++i) {
        if (Element::is_zero(in[i])) {
          out[zero++] = in[i];
        } else if (Element::is_nan(in[i])) {
          out[nan++] = in[i];
        }
      }
    }
  }

  static void entries(const void* in_bytes, int64_t n, int64_t first, void* out) {
    const auto* in = static_cast<const Bits*>(in_bytes);
    if constexpr (sizeof(Key) == 8) {
      auto* to = static_cast<WideEntry*>(out);
      for (int64_t i = 0; i < n; ++i) {
        to[i] = {Element::key(in[i]), uint64_t(first + i)};
      }
    } else {
      auto* to = static_cast<uint64_t*>(out);
      for (int64_t i = 0; i < n; ++i) {
        to[i] = uint64_t(Element::key(in[i])) << 32 | uint64_t(first + i);
      }
    }
  }

  static int64_t find_above(const void* in_bytes, int64_t n, uint64_t key) {
    const auto* in = static_cast<const Bits*>(in_bytes);
    const Key limit = Key(key);
    int64_t end = n;
    for (; end >= kSelectBlock; end -= kSelectBlock) {
      if (any<true>(in + end - kSelectBlock, kSelectBlock, limit)) {
        return end - kSelectBlock;
      }
    }
    return end > 0 && any<true>(in, end, limit) ? 0 : -1;
  }

  static int64_t find_below(const void* in_bytes, int64_t n, uint64_t key) {
    const auto* in = static_cast<const Bits*>(in_bytes);
    const Key limit = Key(key);
    int64_t begin = 0;
    for (; begin + kSelectBlock <= n; begin += kSelectBlock) {
      if (any<false>(in + begin, kSelectBlock, limit)) {
        return begin;
      }
    }
    return any<false>(in + begin, n - begin, limit) ? begin : n;
  }

  static constexpr SortKeys table() {
    return {sizeof(Key), keys, values, restore, entries, order_few, find_above, find_below};
  }

 private:
  // Without a branch, so that it is a loop of vectors.
  template <bool kAbove>
  static bool any(const Bits* in, int64_t n, Key limit) {
    Key found = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Key key = Element::key(in[i]);
      found |= Key((kAbove ? key > limit : key < limit) ? 1 : 0);
    }
    return found != 0;
  }

  // The first of sorted elements whose key is not below `key`.
  static int64_t first_of(const Bits* sorted, int64_t n, Key key) {
    int64_t begin = 0;
    for (int64_t left = n; left > 0;) {
      const int64_t half = left / 2;
      if (Element::key(sorted[begin + half]) < key) {
        begin += half + 1;
        left -= half + 1;
      } else {
        left = half;
      }
    }
    return begin;
  }
};

} // namespace

SortKeys sort_keys(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8:
      return Loops<Unsigned<uint8_t>>::table();
    case Dtype::uint16:
      return Loops<Unsigned<uint16_t>>::table();
    case Dtype::uint32:
      return Loops<Unsigned<uint32_t>>::table();
    case Dtype::uint64:
      return Loops<Unsigned<uint64_t>>::table();
    case Dtype::int8:
      return Loops<Signed<uint8_t>>::table();
    case Dtype::int16:
      return Loops<Signed<uint16_t>>::table();
    case Dtype::int32:
      return Loops<Signed<uint32_t>>::table();
    case Dtype::int64:
      return Loops<Signed<uint64_t>>::table();
    case Dtype::float16:
      return Loops<Floating<uint16_t, 0x7c00>>::table();
    case Dtype::bfloat16:
      return Loops<Floating<uint16_t, 0x7f80>>::table();
    case Dtype::float32:
      return Loops<Float32>::table();
    case Dtype::float64:
      return Loops<Floating<uint64_t, 0x7ff0000000000000>>::table();
    case Dtype::complex64:
      break;
  }
  return Loops<ComplexFloat>::table();
}

} // namespace narrows::cpu::NARROWS_ISA
