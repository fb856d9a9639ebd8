// Parameters of arange.
#pragma once

#include "limits.h"

// out[i] = start + i * step, in the output's type; start and step are doubles, or int64 where
// the output is an integer type.
struct ArangeParams {
  int64_t size;
#if defined(__METAL_VERSION__)
  uint64_t start; // doubles, which Metal lacks
  uint64_t step;
#else
  double start;
  double step;
#endif
  int64_t int_start;
  int64_t int_step;
  // start and step as sums of a float and a small one; GPU backends set them.
  float start_parts[2];
  float step_parts[2];
};
