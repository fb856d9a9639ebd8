// Parameters of collective.
#pragma once

#include "limits.h"

// The most dimensions whose sizes processes compare. The others count together with the last one.
#define COLLECTIVE_DIMENSIONS 8

// Row-contiguous arrays. The shape is that of the input; of what is received, that of the result.
struct CollectiveParams {
  int32_t group;
  int32_t peer;  // of send and recv: the other process
  int64_t count; // elements of that shape
  int64_t shape[COLLECTIVE_DIMENSIONS];
  int32_t ndim;
};
