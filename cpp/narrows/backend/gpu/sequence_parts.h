// The parts of arithmetic sequences that devices without float64 compute with.
#pragma once

#include "metal_kernels/arange.h"

namespace narrows::gpu {

inline void set_parts(ArangeParams& p) {
  const auto split = [](double value, float(&parts)[2]) {
    parts[0] = static_cast<float>(value);
    parts[1] = static_cast<float>(value - static_cast<double>(parts[0]));
  };
  split(p.start, p.start_parts);
  split(p.step, p.step_parts);
}

} // namespace narrows::gpu
