// Loops over quantized numbers, for any way to code them.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_floats.h"
#include "narrows/backend/cpu/kernels/quantized_panels.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Scales that are loaded at once.
constexpr int64_t kScalesAtOnce = 16;

template <typename Codes>
struct Quantized {
  static constexpr int64_t kBlock = 8 * Codes::kOctets; // numbers of a block
  static constexpr int64_t kBlockBytes = Codes::kBytes;

  // Calls use(octet, offset) with the numbers of a block, unscaled.
  template <typename Use>
  static NARROWS_INLINE void each_octet(const std::byte* block, Use&& use) {
#if defined(__AVX2__)
    if constexpr (Codes::kSixteens) {
      for (int i = 0; i < kBlock; i += 16) {
        Floats first;
        Floats second;
        E4M3::decode_sixteen(block + i, first, second);
        use(first, i);
        use(second, i + 8);
      }
      return;
    }
#endif
    use(Codes::number(Codes::template octet<0>(block)), 0);
    use(Codes::number(Codes::template octet<1>(block)), 8);
    if constexpr (Codes::kOctets == 4) {
      use(Codes::number(Codes::template octet<2>(block)), 16);
      use(Codes::number(Codes::template octet<3>(block)), 24);
    }
  }

  struct Scales {
    float scales[kScalesAtOnce];
    float biases[kScalesAtOnce];

    NARROWS_INLINE void load(const QuantizedNumbers& from, int64_t first, int64_t count) {
      Codes::load_scales(from.scales, from.scale_dtype, first, count, scales);
      if constexpr (Codes::kHasBias) {
        Codes::load_scales(from.biases, from.scale_dtype, first, count, biases);
      }
    }
    NARROWS_INLINE Floats scaled(Floats number, int64_t group) const {
      if constexpr (Codes::kHasBias) {
        return number * scales[group] + biases[group];
      } else {
        return number * scales[group];
      }
    }
  };

  // Calls use(numbers, i) with numbers i to i + 7 of the groups.
  template <typename Use>
  static NARROWS_INLINE void each_number(const QuantizedNumbers& from, int64_t groups, Use&& use) {
    const int64_t blocks = from.group / kBlock;
    const std::byte* block = from.codes;
    int64_t i = 0;
    for (int64_t g0 = 0; g0 < groups; g0 += kScalesAtOnce) {
      const int64_t count = groups - g0 < kScalesAtOnce ? groups - g0 : kScalesAtOnce;
      Scales scales;
      scales.load(from, g0, count);
      for (int64_t g = 0; g < count; ++g) {
        for (int64_t b = 0; b < blocks; ++b, block += kBlockBytes, i += kBlock) {
          each_octet(block, [&](Floats number, int at) { use(scales.scaled(number, g), i + at); });
        }
      }
    }
  }

  static void dequantize(const QuantizedNumbers& from, int64_t groups, Dtype dtype, void* out) {
    with_stored(out, dtype, [&](auto* to) {
      each_number(
          from, groups, [&](Floats numbers, int64_t i) { store_lanes<8>(to + i, numbers); });
    });
  }

  // The numbers in float32, for panels.
  static void run(const QuantizedNumbers& from, int64_t groups, float* to) {
    each_number(from, groups, [&](Floats numbers, int64_t i) { store_lanes<8>(to + i, numbers); });
  }

  static void add_scaled(
      const QuantizedNumbers& numbers,
      int64_t length,
      const float* factors,
      int64_t rows,
      float* sums) {
    each_number(numbers, length / numbers.group, [&](Floats numbers8, int64_t i) {
      for (int64_t row = 0; row < rows; ++row) {
        float* to = sums + row * length + i;
        const Floats sum =
            multiply_add(numbers8, splat<float, 8>(factors[row]), load_as<Floats>(to));
        std::memcpy(to, &sum, sizeof(sum));
      }
    });
  }

  template <typename Stored>
  static void quantize_all(
      const Stored* in,
      int64_t groups,
      int64_t group,
      std::byte* codes,
      void* scales,
      void* biases) {
    for (int64_t g = 0; g < groups; ++g, in += group) {
      Floats lowest = load_lanes<float, 8>(in);
      Floats highest = lowest;
      for (int64_t i = 8; i < group; i += 8) {
        const Floats x = load_lanes<float, 8>(in + i);
        lowest = smaller(x, lowest);
        highest = larger(x, highest);
      }
      const Codes coder = Codes::of(lowest, highest);
      coder.template store_scales<Stored>(scales, biases, g);
      for (int64_t i = 0; i < group; i += kBlock, codes += kBlockBytes) {
        Words block[4] = {};
        for (int j = 0; j < Codes::kOctets; ++j) {
          block[j] = coder.encode(load_lanes<float, 8>(in + i + 8 * j));
        }
        Codes::store(block, codes);
      }
    }
  }
  static void quantize(
      const void* in,
      Dtype dtype,
      int64_t groups,
      int64_t group,
      void* codes,
      void* scales,
      void* biases) {
    with_stored(in, dtype, [&](const auto* from) {
      quantize_all(from, groups, group, static_cast<std::byte*>(codes), scales, biases);
    });
  }

  // The products of M rows with R rows of numbers.
  template <int M, int R>
  static void product_block(
      const ProductRows& left, const QuantizedNumbers& right, float* out, int64_t out_stride) {
    const int64_t groups = left.length / right.group;
    const int64_t blocks = right.group / kBlock;
    const int64_t row_bytes = groups * blocks * kBlockBytes;
    Floats totals[M][R] = {};
    Scales scales[R];
    for (int64_t g0 = 0; g0 < groups; g0 += kScalesAtOnce) {
      const int64_t count = groups - g0 < kScalesAtOnce ? groups - g0 : kScalesAtOnce;
      for (int r = 0; r < R; ++r) {
        scales[r].load(right, r * groups + g0, count);
      }
      for (int64_t g = 0; g < count; ++g) {
        const int64_t first = (g0 + g) * blocks;
        for (int r = 0; r < R; ++r) {
          const std::byte* block = right.codes + r * row_bytes + first * kBlockBytes;
          const float* x = left.values + first * kBlock;
          Floats sums[M] = {};
          for (int64_t b = 0; b < blocks; ++b, block += kBlockBytes, x += kBlock) {
            each_octet(block, [&](Floats number, int at) {
              for (int m = 0; m < M; ++m) {
                sums[m] = multiply_add(number, load_as<Floats>(x + m * left.length + at), sums[m]);
              }
            });
          }
          for (int m = 0; m < M; ++m) {
            Floats& total = totals[m][r];
            total = multiply_add(sums[m], splat<float, 8>(scales[r].scales[g]), total);
            if constexpr (Codes::kHasBias) {
              const float* of_group = left.sums + (m * groups + g0 + g) * kGroupSums;
              total = multiply_add(
                  load_as<Floats>(of_group), splat<float, 8>(scales[r].biases[g]), total);
            }
          }
        }
      }
    }
    for (int m = 0; m < M; ++m) {
      for (int r = 0; r < R; ++r) {
        out[m * out_stride + r] = sum_of(totals[m][r]);
      }
    }
  }
  template <int M, int R>
  static void product_rows(
      const ProductRows& left,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride) {
    const int64_t groups = left.length / right.group;
    int64_t j = 0;
    for (; j + R <= columns; j += R) {
      product_block<M, R>(left, right.from(j * groups), out + j, out_stride);
    }
    for (; j < columns; ++j) {
      product_block<M, 1>(left, right.from(j * groups), out + j, out_stride);
    }
  }
  static void products(
      const ProductRows& left,
      int64_t rows,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride) {
    switch (rows) {
      case 1:
        return product_rows<1, 4>(left, right, columns, out, out_stride);
      case 2:
        return product_rows<2, 2>(left, right, columns, out, out_stride);
      case 3:
        return product_rows<3, 2>(left, right, columns, out, out_stride);
      default:
        return product_rows<4, 2>(left, right, columns, out, out_stride);
    }
  }

  static QuantizedTile tile();
};

inline void prepare_rows(
    const void* in, Dtype dtype, int64_t groups, int64_t group, float* values, float* sums) {
  with_stored(in, dtype, [&](const auto* from) {
    for (int64_t g = 0; g < groups; ++g) {
      Floats sum{};
      for (int64_t i = g * group; i < (g + 1) * group; i += 8) {
        const Floats x = load_lanes<float, 8>(from + i);
        sum += x;
        if (values) {
          std::memcpy(values + i, &x, sizeof(x));
        }
      }
      if (sums) {
        std::memcpy(sums + g * kGroupSums, &sum, sizeof(sum));
      }
    }
  });
}

inline void widen_stored(const void* in, Dtype dtype, int64_t n, float* out) {
  load_floats(in, dtype, 0, n, out);
}

inline void store_narrowed(const float* in, int64_t n, Dtype dtype, void* out) {
  with_stored(out, dtype, [&](auto* to) {
    using Stored = std::remove_reference_t<decltype(*to)>;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      store_lanes<8>(to + i, load_as<Floats>(in + i));
    }
    for (; i < n; ++i) {
      to[i] = narrow<Stored>(in[i]);
    }
  });
}

template <typename Codes>
QuantizedTile Quantized<Codes>::tile() {
  return {
      quantize,
      dequantize,
      products,
      add_scaled,
      prepare_rows,
      widen_stored,
      store_narrowed,
      Panels<Quantized>::tile()};
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
