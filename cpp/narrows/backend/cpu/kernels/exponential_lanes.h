// The exponential of numbers that are not above zero, a vector at a time.
#pragma once

#include "narrows/backend/cpu/kernels/product_loops.h"
#include "narrows/backend/cpu/kernels/softmax_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// exp(x) for x <= 0 or NaN. What would be below 2^-125 is zero: weights are relative to 1.
template <typename T, int N>
NARROWS_INLINE Vector<T, N> exponential_lanes(Vector<T, N> x) {
  using V = Vector<T, N>;
  if constexpr (std::is_same_v<T, float>) {
    using Bits = Vector<int32_t, N>;
    constexpr float kLeast = -86.6f;
    const auto constant = [](float c) { return splat<float, N>(c); };
    const Bits vanishes = x < kLeast;
    const V clamped = vanishes ? constant(kLeast) : x;
    // x = n ln2 + r with |r| <= ln2 / 2; n is in the low bits of the rounded sum.
    const V sum =
        multiply_add<T, N>(clamped, constant(1.44269504f), constant(metal::detail::kRounder));
    const V n = sum - metal::detail::kRounder;
    V r = multiply_add<T, N>(n, constant(-metal::detail::kLn2High), clamped);
    r = multiply_add<T, N>(n, constant(-metal::detail::kLn2Low), r);
    V q = constant(0.0001990520147f);
    for (const float c :
         {0.001394111093f, 0.008333288517f, 0.04166635286f, 0.1666666676f, 0.5000000047f}) {
      q = multiply_add<T, N>(q, r, constant(c));
    }
    const V p = multiply_add<T, N>(r * r, q, r) + 1.0f;
    // A product, so that NaN stays what it is.
    const V scale = bits_as<V>((bits_as<Bits>(sum) << 23) + 0x3f800000);
    return bits_as<V>(bits_as<Bits>(p * scale) & ~vanishes);
  } else {
    for (int i = 0; i < N; ++i) {
      x[i] = exponential(x[i]);
    }
    return x;
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
