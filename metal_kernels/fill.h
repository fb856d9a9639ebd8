// Parameters of fill.
#pragma once

#include "limits.h"

// out[0 .. size) = the low bytes of value.
struct FillParams {
  int64_t size;
  uint64_t value;
};
