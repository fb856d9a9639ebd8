// Parameters of gather and scatter.
#pragma once

#include "limits.h"

// The most arrays of indices of one call.
#define NARROWS_MAX_INDICES 8

// A walk over the elements that arrays of indices select of one array, the indexed one, beside
// those of another: the result of a gather, the updates of a scatter. Dimensions are of three
// kinds: lines, positions and columns, in a scatter in this order. Elements of different lines and
// columns are different elements of the indexed array; indices do not change along columns. All
// strides count elements.
//
// An index counts from the end if it is negative. One that is out of range goes to the nearest
// element if `clamp` is set; else its elements are skipped: a gather gives zeros for them.
struct IndexedParams {
  int64_t lines; // how many of each there are; their product is the number of elements
  int64_t positions;
  int64_t columns;
  int64_t rows; // places that indices can select, in one line and column
  int32_t line_dims;
  int32_t position_dims;
  int32_t ndim; // of all three kinds
  int32_t indices;
  int32_t clamp;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t array_strides[NARROWS_MAX_DIMS]; // of the indexed array
  int64_t other_strides[NARROWS_MAX_DIMS];
  int64_t row_pitches[NARROWS_MAX_DIMS]; // rows to the next index of a dimension of positions
  int64_t index_strides[NARROWS_MAX_INDICES][NARROWS_MAX_DIMS];
  // By array of indices: the size of the axis that it addresses, the largest index that is in
  // range, elements and rows to the next index.
  int64_t sizes[NARROWS_MAX_INDICES];
  int64_t limits[NARROWS_MAX_INDICES];
  int64_t steps[NARROWS_MAX_INDICES];
  int64_t pitches[NARROWS_MAX_INDICES];
};
