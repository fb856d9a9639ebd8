// Parameters of what is computed of whole matrices.
#pragma once

#include "limits.h"

// A stack of row-contiguous matrices.
struct MatrixParams {
  int64_t batch;
  int64_t m;       // rows
  int64_t n;       // columns
  int64_t columns; // of right sides
  int32_t upper;   // the upper triangle is read, or written
  int32_t full;    // of svd: all columns of u and rows of vt, not only those of singular values
};
