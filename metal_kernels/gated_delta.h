// Parameters of gated delta updates.
#pragma once

#include "limits.h"

// The distances of entries of the batch, of places in time, of heads and of columns.
struct GatedDeltaView {
  int64_t batch;
  int64_t time;
  int64_t head;
  int64_t column;
};

// The operands in their order: queries, keys, values, decays, rates and states; then results and
// states, which are row-contiguous: (batch, length, heads, value_size) and (batch, heads,
// value_size, key_size). Decays, rates and states have the type that is computed in.
struct GatedDeltaParams {
  int64_t batch;
  int64_t length;
  int64_t heads;
  int64_t key_heads; // a divisor of `heads`: so many neighbouring heads share one head of queries
                     // and keys
  int64_t key_size;
  int64_t value_size;
  GatedDeltaView query;
  GatedDeltaView key;
  GatedDeltaView value;
  GatedDeltaView decay;
  GatedDeltaView rate;
  GatedDeltaView state; // `time` is the distance between rows
};
