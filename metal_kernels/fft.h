// Parameters of fft.
#pragma once

#include "limits.h"

// A transform along the middle one of three row-contiguous dimensions (outer, length, inner).
// `length` is the number of transformed elements. In a real transform it is the number of real
// numbers; the other side has length / 2 + 1 complex ones.
struct FftParams {
  int64_t outer;
  int64_t length;
  int64_t inner;
  double scale;    // of the result
  int32_t inverse; // of complex transforms: use the conjugate roots of unity
};
