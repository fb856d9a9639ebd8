// Parameters of attention and of its gradient.
#pragma once

#include "limits.h"

// Where the matrices of an operand lie: the distances between entries along the dimensions of the
// batch, between heads, rows and columns. They are zero where the operand has one for all.
struct AttentionView {
  int64_t batch[NARROWS_MAX_DIMS];
  int64_t head;
  int64_t row;
  int64_t column;
};

// What a mask's elements say.
enum class AttentionMask : int32_t {
  none,
  causal,  // no array: the last query sees all keys, each one before it one key less
  boolean, // true where a query sees a key
  additive // numbers that are added to the scores
};

// A query sees a key, or else its score is the lowest finite float: where no key is seen, all
// weigh the same.
#define NARROWS_HIDDEN_SCORE (-3.402823466e+38f)

// The operands, in their order: of attention queries, keys, values, the mask and the sinks if there
// are such; then results and statistics. Of the gradient queries, keys, values, the mask if there
// is one, the statistics, what `correction` and `cotangent` say; then the cotangents of queries,
// keys and values. Those that are written are row-contiguous: (batch..., heads, rows, columns).
//
// The statistics of a query are two numbers: the largest score, and one over the sum of
// exp(score - largest).
struct AttentionParams {
  int64_t batch_ndim;
  int64_t batch_shape[NARROWS_MAX_DIMS];
  int64_t heads;
  int64_t key_heads; // a divisor of `heads`: as many heads share one of keys and values
  int64_t queries;
  int64_t keys;
  int64_t size;       // of queries and keys
  int64_t value_size; // of values and results
  float scale;
  int32_t has_sinks;
  AttentionMask mask_kind;
  int32_t padding;
  AttentionView query;
  AttentionView key;
  AttentionView value;
  AttentionView mask;
  AttentionView sinks;      // one number for each head
  AttentionView statistics; // the gradient's inputs
  AttentionView correction; // the sum of result times cotangent of each query
  AttentionView cotangent;  // of the results
};
