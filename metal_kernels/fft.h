// Parameters of fft.
#pragma once

#include "limits.h"

// Along the middle of three row-contiguous dimensions (outer, length, inner). `length` counts what
// is transformed: of real transforms the real numbers, where length / 2 + 1 complex ones are on the
// other side.
struct FftParams {
  int64_t outer;
  int64_t length;
  int64_t inner;
  double scale;    // of the result
  int32_t inverse; // of complex transforms: with the conjugate roots of unity
};
