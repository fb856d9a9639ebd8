// Parameters of gather and scatter.
#pragma once

#include "limits.h"

// The most index arrays of a call.
#define NARROWS_MAX_INDICES 8

// A walk over the elements that index arrays select in one array, the indexed one, and over those
// of another array: the result of a gather, or the updates of a scatter. Dimensions are of three
// kinds: lines, positions and columns; in a scatter they are in this order. Different lines and
// columns are different elements of the indexed array, and indices do not change along columns. All
// strides count elements.
//
// A negative index counts from the end. If an index is out of range, `clamp` selects the nearest
// element. Without `clamp` its elements are skipped: a gather gives zeros for them.
struct IndexedParams {
  int64_t lines; // the number of each kind; their product is the number of elements
  int64_t positions;
  int64_t columns;
  int64_t rows; // places that indices can select in one line and column
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
  // By index array: the size of the axis that it addresses, the largest index within range, and
  // elements and rows to the next index.
  int64_t sizes[NARROWS_MAX_INDICES];
  int64_t limits[NARROWS_MAX_INDICES];
  int64_t steps[NARROWS_MAX_INDICES];
  int64_t pitches[NARROWS_MAX_INDICES];
};
