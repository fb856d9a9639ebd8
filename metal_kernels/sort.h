// Parameters of sort.
#pragma once

#include "limits.h"

// Contiguous rows. The elements first, first + 1, ... of each sorted row are written.
struct SortParams {
  int64_t rows;
  int64_t length;
  int64_t kth; // of partitions: the element that gets its sorted place
  int64_t first;
  int64_t count;
  int64_t run; // for kernels that merge: the length of sorted runs
};
