// Parameters of attention and of its gradient.
#pragma once

#include "limits.h"

// Where the matrices of an operand lie: the distances of entries along the dimensions of the batch,
// of heads, of rows and of columns. A distance is zero where the operand has one for all.
struct AttentionView {
  int64_t batch[NARROWS_MAX_DIMS];
  int64_t head;
  int64_t row;
  int64_t column;
};

// What the elements of a mask mean.
enum class AttentionMask : int32_t {
  none,
  causal,  // no array: the last query sees all keys, and each query before it one key less
  boolean, // true where a query sees a key
  additive // numbers that are added to the scores
};

// The score of a key that a query does not see is the lowest finite float. So a query that sees no
// key weighs all of them alike.
#define NARROWS_HIDDEN_SCORE (-3.402823466e+38f)

// The operands in their order. Attention reads queries, keys, values, the mask and the sinks if
// there are any; it writes results and statistics. The gradient reads queries, keys, values, the
// mask if there is one, the statistics, the correction and the cotangent; it writes the cotangents
// of queries, keys and values. Written operands are row-contiguous: (batch..., heads, rows,
// columns).
//
// The statistics of a query are two numbers: the largest score, and 1 / sum of exp(score -
// largest).
struct AttentionParams {
  int64_t batch_ndim;
  int64_t batch_shape[NARROWS_MAX_DIMS];
  int64_t heads;
  int64_t key_heads; // a divisor of `heads`: so many neighbouring heads share one head of keys and
                     // values
  int64_t queries;
  int64_t keys;
  int64_t size;       // of queries and keys
  int64_t value_size; // of values and results
  float scale;
  int32_t has_sinks;
  AttentionMask mask_kind;
  int32_t packed; // whether packs of 16 bytes are whole and aligned; GPU backends set it
  AttentionView query;
  AttentionView key;
  AttentionView value;
  AttentionView mask;
  AttentionView sinks;      // one number for each head
  AttentionView statistics; // of the gradient, as are the next two
  AttentionView correction; // the sum of result times cotangent for each query
  AttentionView cotangent;  // of the results
};

// For few queries, whose numbers are read in packs of 16 bytes. A threadgroup has a part of the
// keys of one query. Where there are several parts, it writes what the next kernel combines: for
// each query and part the largest score, the sum of exp(score - largest), and the sums of values.
struct AttentionRowsParams {
  AttentionParams attention;
  int32_t parts;
  int32_t part_keys;
};
