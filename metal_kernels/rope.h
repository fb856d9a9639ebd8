// Parameters of rotary position embeddings.
#pragma once

#include "limits.h"

// Inputs: numbers (batch, heads, length, size), whose rows are contiguous; an offset (int32 or
// int64) or one for each entry of the batch; and frequencies (float32), unless there is a base.
// Pairs of a row's first `dims` numbers are turned by (offset + t) * scale times base^(-2i / dims),
// or divided by frequency i.
struct RopeParams {
  int64_t batch;
  int64_t heads;
  int64_t length;
  int64_t size;
  int64_t dims;
  int64_t in[3]; // strides of the numbers, in elements: of the batch, heads and rows
  int64_t out[3];
  int64_t offsets;      // how many there are
  int64_t offset_bytes; // of each: 4 or 8
  int64_t traditional;  // whether pairs are neighbours, else dims / 2 apart
  float base;           // 0: there are frequencies
  float scale;
};
