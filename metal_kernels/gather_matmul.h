// Parameters of products of chosen matrices.
#pragma once

#include "limits.h"

// c[i] = a[lhs_indices[i]] b[rhs_indices[i]], all row-major: a has lhs_count matrices m x k, b
// rhs_count matrices k x n.
struct GatherMatmulParams {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t products;
  int64_t lhs_count;
  int64_t rhs_count;
};
