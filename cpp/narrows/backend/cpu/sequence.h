// Elements of arithmetic sequences.
#pragma once

#include <cstdint>
#include <type_traits>

namespace narrows::cpu {

// start + i * step, of `Params` (ArangeParams, Sequence). Integers that do not fit wrap around.
template <typename T, typename Params>
T sequence_element(const Params& params, int64_t i) {
  if constexpr (std::is_integral_v<T>) {
    const auto start = static_cast<uint64_t>(params.int_start);
    const auto step = static_cast<uint64_t>(params.int_step);
    return static_cast<T>(start + static_cast<uint64_t>(i) * step);
  } else {
    const double value = params.start + static_cast<double>(i) * params.step;
    if constexpr (std::is_same_v<T, double>) {
      return value;
    } else {
      return T(static_cast<float>(value));
    }
  }
}

} // namespace narrows::cpu
