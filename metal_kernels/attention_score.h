// Where attention's operands lie, and the scores that masks leave. Shared by the kernels of
// attention.metal and attention_tiles.metal.
#pragma once

#include "attention.h"

// The first elements of an entry of the batch and of a head.
METAL_FUNC int64_t
start_of(constant AttentionParams& p, constant AttentionView& view, int64_t entry, int64_t head) {
  int64_t offset = head * view.head;
  for (int64_t d = p.batch_ndim - 1; d >= 0; --d) {
    const int64_t outer = entry / p.batch_shape[d];
    offset += (entry - outer * p.batch_shape[d]) * view.batch[d];
    entry = outer;
  }
  return offset;
}

// The number of keys that query t sees at most under a causal mask.
METAL_FUNC int64_t visible_keys(constant AttentionParams& p, int64_t t) {
  return t + 1 + p.keys - p.queries;
}

template <typename T>
struct Score {
  Compute<T> value;
  bool hidden;
};

// The score of query t and key j, whose inner product is given. `mask` has numbers to add, `sees`
// tells where a query sees a key.
template <typename T>
METAL_FUNC Score<T> score_of(
    constant AttentionParams& p,
    Compute<T> product,
    device const T* mask,
    device const bool* sees,
    int64_t mask_start,
    int64_t t,
    int64_t j) {
  using Value = Compute<T>;
  Value score = Value(p.scale) * product;
  const int64_t place = mask_start + t * p.mask.row + j * p.mask.column;
  bool hidden = false;
  if (p.mask_kind == AttentionMask::causal) {
    hidden = j >= visible_keys(p, t);
  } else if (p.mask_kind == AttentionMask::boolean) {
    hidden = !sees[place];
  } else if (p.mask_kind == AttentionMask::additive) {
    score += Value(mask[place]);
  }
  return Score<T>{hidden ? Value(NARROWS_HIDDEN_SCORE) : score, hidden};
}
