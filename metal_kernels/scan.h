// Parameters of scan.
#pragma once

#include "limits.h"

// Along the middle of three row-contiguous dimensions (outer, length, inner).
struct ScanParams {
  int64_t outer;
  int64_t length;
  int64_t inner;
  int32_t reverse;   // from the last element to the first
  int32_t inclusive; // element i includes input i
};
