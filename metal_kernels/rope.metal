// Rotary position embeddings: a thread turns a pair of numbers, or copies one that is not turned.
#include "common.h"

#include "rope.h"

// The pair or the single number of a thread.
struct RopePlace {
  int64_t column; // pairs come first
  int64_t t;
  int64_t head;
  int64_t entry;

  template <typename Index>
  static METAL_FUNC RopePlace at(constant RopeParams& p, Index i) {
    const Index columns = Index(p.size - p.dims / 2);
    const Index row = i / columns;
    const Index entry_head = row / Index(p.length);
    return RopePlace{
        int64_t(i % columns),
        int64_t(row % Index(p.length)),
        int64_t(entry_head % Index(p.heads)),
        int64_t(entry_head / Index(p.heads))};
  }
};

METAL_FUNC int64_t count_of(constant RopeParams& p) {
  return p.batch * p.heads * p.length * (p.size - p.dims / 2);
}
// Divides in 32 bits where the size allows it.
METAL_FUNC RopePlace place_of(constant RopeParams& p, int64_t i) {
  return count_of(p) <= 0x7fffffff ? RopePlace::at(p, uint(i)) : RopePlace::at(p, i);
}

// `x` and `out` are the first numbers; `out` may be `x`.
template <typename T>
METAL_FUNC void turn(
    device const T* x,
    device const int32_t* offsets,
    device T* out,
    constant RopeParams& p,
    RopePlace place,
    float frequency) {
  const int64_t pair = place.column;
  const int64_t pairs = p.dims / 2;
  x += place.entry * p.in[0] + place.head * p.in[1] + place.t * p.in[2];
  out += place.entry * p.out[0] + place.head * p.out[1] + place.t * p.out[2];
  if (pair >= pairs) {
    out[pair + pairs] = x[pair + pairs];
    return;
  }
  const int64_t at = p.offsets > 1 ? place.entry : 0;
  const float offset =
      p.offset_bytes == 4 ? float(offsets[at]) : float(((device const int64_t*)offsets)[at]);
  const float angle = (offset + float(place.t)) * p.scale * frequency;
  const int64_t first = p.traditional != 0 ? 2 * pair : pair;
  const int64_t second = p.traditional != 0 ? first + 1 : pair + pairs;
  const float c = metal::cos(angle);
  const float s = metal::sin(angle);
  const float a = float(x[first]);
  const float b = float(x[second]);
  out[first] = T(a * c - b * s);
  out[second] = T(b * c + a * s);
}

template <typename T>
kernel void rope(
    device const T* x [[buffer(0)]],
    device const int32_t* offsets [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant RopeParams& p [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t i = int64_t(group) * threads + lid;
  if (i >= count_of(p)) {
    return;
  }
  const RopePlace place = place_of(p, i);
  const float step = -metal::log(p.base) / float(p.dims / 2);
  turn(x, offsets, out, p, place, metal::exp(float(place.column) * step));
}

template <typename T>
kernel void rope_frequencies(
    device const T* x [[buffer(0)]],
    device const int32_t* offsets [[buffer(1)]],
    device const float* frequencies [[buffer(2)]],
    device T* out [[buffer(3)]],
    constant RopeParams& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]]) {
  const int64_t i = int64_t(group) * threads + lid;
  if (i >= count_of(p)) {
    return;
  }
  const RopePlace place = place_of(p, i);
  const bool is_pair = place.column < p.dims / 2;
  turn(x, offsets, out, p, place, is_pair ? 1.0f / frequencies[place.column] : 0.0f);
}

#define NARROWS_ROPE(T, tname, unused)       \
  INSTANTIATE_KERNEL("rope_" tname, rope, T) \
  INSTANTIATE_KERNEL("rope_" tname "_frequencies", rope_frequencies, T)
NARROWS_TYPES_floating(NARROWS_ROPE, unused)
