// Parameters of pooling by the largest value in each window, and of its gradient.
#pragma once

#include "limits.h"

#define NARROWS_MAX_POOL_DIMS 3

// Row-contiguous arrays (batch, places..., channels) and (batch, windows..., channels). Dimensions
// that are not there come first and have one place and one window of size one.
struct PoolParams {
  int64_t batch;
  int64_t channels;
  int64_t places[NARROWS_MAX_POOL_DIMS];
  int64_t windows[NARROWS_MAX_POOL_DIMS];
  int64_t size[NARROWS_MAX_POOL_DIMS];
  int64_t stride[NARROWS_MAX_POOL_DIMS];
  int64_t padding[NARROWS_MAX_POOL_DIMS]; // before the first place, and behind the last
};
