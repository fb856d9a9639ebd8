// Gated delta updates. A simdgroup computes one row of a state.
#include "common.h"

#include "gated_delta.h"

template <typename T>
kernel void gated_delta(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const Compute<T>* decay [[buffer(3)]],
    device const Compute<T>* rate [[buffer(4)]],
    device const Compute<T>* state [[buffer(5)]],
    device T* result [[buffer(6)]],
    device Compute<T>* result_state [[buffer(7)]],
    constant GatedDeltaParams& p [[buffer(8)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]]) {
  using Value = Compute<T>;
  const int64_t column = int64_t(group) % p.value_size;
  const int64_t head = int64_t(group) / p.value_size % p.heads;
  const int64_t entry = int64_t(group) / p.value_size / p.heads;
  const int64_t key_head = head / (p.heads / p.key_heads);
  query += entry * p.query.batch + key_head * p.query.head;
  key += entry * p.key.batch + key_head * p.key.head;
  value += entry * p.value.batch + head * p.value.head + column * p.value.column;
  decay += entry * p.decay.batch + head * p.decay.head;
  rate += entry * p.rate.batch + head * p.rate.head;
  state += entry * p.state.batch + head * p.state.head + column * p.state.time;
  result += (entry * p.length * p.heads + head) * p.value_size + column;
  // Only this lane touches every 32nd number of the row.
  device Value* row = result_state + int64_t(group) * p.key_size;
  for (int64_t d = lane; d < p.key_size; d += 32) {
    row[d] = state[d * p.state.column];
  }
  for (int64_t t = 0; t < p.length; ++t) {
    const Value keep = decay[t * p.decay.time];
    Value known = Value(0);
    for (int64_t d = lane; d < p.key_size; d += 32) {
      row[d] *= keep;
      known = metal::fma(row[d], Value(key[t * p.key.time + d * p.key.column]), known);
    }
    known = combine_lanes<SumOf<T>>(known);
    const Value change = rate[t * p.rate.time] * (Value(value[t * p.value.time]) - known);
    Value sum = Value(0);
    for (int64_t d = lane; d < p.key_size; d += 32) {
      row[d] = metal::fma(change, Value(key[t * p.key.time + d * p.key.column]), row[d]);
      sum = metal::fma(row[d], Value(query[t * p.query.time + d * p.query.column]), sum);
    }
    sum = combine_lanes<SumOf<T>>(sum);
    if (lane == 0) {
      result[t * p.heads * p.value_size] = T(sum);
    }
  }
}

#define NARROWS_GATED_DELTA(T, tname, unused) \
  INSTANTIATE_KERNEL("gated_delta_" tname, gated_delta, T)
NARROWS_TYPES_floating(NARROWS_GATED_DELTA, unused)
