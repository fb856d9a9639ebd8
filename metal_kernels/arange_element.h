// The elements of an arithmetic sequence. Included after common.h.
#pragma once

#include "arange.h"

// start + i * step, as if computed in float64 and rounded: products and sums are kept as a float
// and the remainder that it cannot hold.
METAL_FUNC float arange_value(constant ArangeParams& p, int64_t i) {
  // i in two parts, each of which a float can hold.
  const float high = float(i >> 24) * 16777216.0f;
  const float low = float(i & 0xffffff);
  const float step = p.step_parts[0];
  const float high_product = high * step;
  const float high_rest = metal::fma(high, step, -high_product);
  const float low_product = low * step;
  const float low_rest = metal::fma(low, step, -low_product);
  const float small = high_rest + low_rest + (high + low) * p.step_parts[1] + p.start_parts[1];
  const float products = high_product + low_product;
  const float part = products - high_product;
  const float products_rest = (high_product - (products - part)) + (low_product - part);
  const float sum = products + p.start_parts[0];
  const float other = sum - products;
  const float sum_rest = (products - (sum - other)) + (p.start_parts[0] - other);
  return sum + (sum_rest + products_rest + small);
}

template <typename T>
METAL_FUNC T arange_element(constant ArangeParams& p, int64_t i) {
  if constexpr (metal::is_integral_v<T>) {
    // Unsigned arithmetic, so that integers that do not fit wrap around.
    return T(uint64_t(p.int_start) + uint64_t(i) * uint64_t(p.int_step));
#if METAL_HAS_FLOAT64
  } else if constexpr (metal::is_same_v<T, double>) {
    return p.start + double(i) * p.step;
#endif
  } else {
    return Convert<T>()(arange_value(p, i));
  }
}
