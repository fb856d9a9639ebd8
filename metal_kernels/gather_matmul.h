// Parameters of products of chosen matrices, or of chosen ranges of two matrices.
#pragma once

#include "limits.h"

// What is chosen: the mode of a kernel's id.
// Matrices: c[i] = a[lhs_indices[i]] b[rhs_indices[i]] with indices of uint32. a has lhs_count
// matrices m x k, b rhs_count matrices k x n.
#define NARROWS_CHOSEN_MATRICES 0
// Ranges: c[i] = a[:, begins[i]:ends[i]] b[begins[i]:ends[i]] with int64, which take the place of
// the indices. a is m x k, b is k x n. Ranges end where the matrices do.
#define NARROWS_CHOSEN_RANGES 1

// All matrices are row-major.
struct GatherMatmulParams {
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t products;
  int64_t lhs_count;
  int64_t rhs_count;
};
