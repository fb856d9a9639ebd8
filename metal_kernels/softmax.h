// Parameters of softmax and logsumexp.
#pragma once

#include "limits.h"

// Rows of a row-contiguous matrix: softmax and logsumexp.
struct RowParams {
  int64_t rows;
  int64_t length;
};
