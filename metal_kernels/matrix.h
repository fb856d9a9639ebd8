// Parameters of operations on whole matrices.
#pragma once

#include "limits.h"

// A stack of row-contiguous matrices.
struct MatrixParams {
  int64_t batch;
  int64_t m;       // rows
  int64_t n;       // columns
  int64_t columns; // of right-hand sides
  int32_t upper;   // whether the upper triangle is read or written
  int32_t full;    // of svd: all columns of u and all rows of vt
};
