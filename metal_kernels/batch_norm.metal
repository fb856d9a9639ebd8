// Batch normalization and its gradient: sums of the channels over pieces of the rows, then what the
// pieces give together, then the pass that writes the result.
#include "common.h"

#include "batch_norm.h"

// As in backend/gpu/batch_norm.cpp.
constant constexpr uint kBatchNormThreads = 256;
// Rows, or pieces, that a thread reads before it uses the first of them.
constant constexpr int kRowsInFlight = 4;

// The rows and the channels of a thread.
struct BatchNormShare {
  int64_t channel; // the first
  int64_t row;     // the first
  int64_t end;     // the first row behind the piece
  int64_t step;    // to the thread's next row
  uint place;      // of the thread among those that have its channels
  uint column;     // of the thread in its row of the block
  bool has_work;
};

// The first row behind a piece.
METAL_FUNC int64_t end_of_piece(constant BatchNormParts& p, int64_t piece) {
  const int64_t end = (piece + 1) * p.piece_rows;
  return end < p.rows ? end : p.rows;
}

template <int N>
METAL_FUNC BatchNormShare batch_norm_share(constant BatchNormParts& p, uint group, uint lid) {
  const uint width = uint(p.width);
  const uint piece = group / uint(p.blocks);
  const uint block = group - piece * uint(p.blocks);
  BatchNormShare share;
  share.place = lid / width;
  share.column = lid - share.place * width;
  share.channel = (int64_t(block) * width + share.column) * N;
  share.step = kBatchNormThreads / width;
  share.row = piece * p.piece_rows + share.place;
  share.end = end_of_piece(p, piece);
  share.has_work = share.channel < p.channels && share.place < uint(share.step);
  return share;
}

template <int N>
METAL_FUNC Pack<float, N> channels_of(device const float* rows, int64_t channels, int64_t row) {
  return *(device const Pack<float, N>*)(rows + row * channels);
}

// The mean of some numbers, and the sum of their squared distances from it.
struct Moments {
  float mean;
  float squares;

  static METAL_FUNC Moments none() {
    return Moments{0.0f, 0.0f};
  }
  // Both together: of `count` numbers, and of `more` others.
  METAL_FUNC Moments with(float count, Moments other, float more) const {
    if (count == 0.0f || more == 0.0f) {
      return more == 0.0f ? *this : other;
    }
    const float share = more / (count + more);
    const float distance = other.mean - mean;
    return Moments{
        metal::fma(distance, share, mean),
        squares + other.squares + distance * distance * (count * share)};
  }
};

// The moments of channels in a piece of the rows. `parts` has the means of a piece and then its
// squares, for one piece after the other.
template <int N>
kernel void batch_norm_moments(
    device const float* x [[buffer(0)]],
    device float* parts [[buffer(1)]],
    constant BatchNormParts& p [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(Moments, shared, [N * kBatchNormThreads]);
  THREADGROUP_ARRAY(float, counts, [kBatchNormThreads]);
  const BatchNormShare share = batch_norm_share<N>(p, group, lid);
  Moments moments[N];
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    moments[k] = Moments::none();
  }
  float count = 0.0f;
  if (share.has_work) {
    device const float* column = x + share.channel;
    int64_t row = share.row;
    // Four rows at a time have their mean and squares first: so nothing is far from its mean.
    for (; row + (kRowsInFlight - 1) * share.step < share.end; row += kRowsInFlight * share.step) {
      Pack<float, N> packs[kRowsInFlight];
      METAL_UNROLL
      for (int j = 0; j < kRowsInFlight; ++j) {
        packs[j] = channels_of<N>(column, p.channels, row + j * share.step);
      }
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        Moments found = Moments::none();
        METAL_UNROLL
        for (int j = 0; j < kRowsInFlight; ++j) {
          found.mean += packs[j].values[k];
        }
        found.mean *= 1.0f / kRowsInFlight;
        METAL_UNROLL
        for (int j = 0; j < kRowsInFlight; ++j) {
          const float distance = packs[j].values[k] - found.mean;
          found.squares = metal::fma(distance, distance, found.squares);
        }
        moments[k] = moments[k].with(count, found, float(kRowsInFlight));
      }
      count += float(kRowsInFlight);
    }
    for (; row < share.end; row += share.step) {
      const Pack<float, N> pack = channels_of<N>(column, p.channels, row);
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        moments[k] = moments[k].with(count, Moments{pack.values[k], 0.0f}, 1.0f);
      }
      count += 1.0f;
    }
  }
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    shared[uint(k) * kBatchNormThreads + lid] = moments[k];
  }
  counts[lid] = count;
  const uint width = uint(p.width);
  for (uint threads = uint(share.step); threads > 1; threads = (threads + 1) / 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint half_of_them = (threads + 1) / 2;
    if (share.place + half_of_them < threads) {
      const uint other = lid + half_of_them * width;
      const float more = counts[other];
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        moments[k] = moments[k].with(count, shared[uint(k) * kBatchNormThreads + other], more);
        shared[uint(k) * kBatchNormThreads + lid] = moments[k];
      }
      count += more;
      counts[lid] = count;
    }
  }
  if (share.has_work && share.place == 0) {
    device float* part = parts + int64_t(group / uint(p.blocks)) * 2 * p.channels + share.channel;
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      part[k] = moments[k].mean;
      part[p.channels + k] = moments[k].squares;
    }
  }
}

// A simdgroup combines the pieces of a channel. `scales` are what distances from the mean are
// multiplied by.
kernel void batch_norm_float32_finish(
    device const float* parts [[buffer(0)]],
    device const float* weight [[buffer(1)]],
    device float* scales [[buffer(2)]],
    device float* means [[buffer(3)]],
    device float* variances [[buffer(4)]],
    constant BatchNormParts& p [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const int64_t channel = int64_t(group) * simdgroups + simdgroup;
  if (channel >= p.channels) {
    return;
  }
  Moments moments = Moments::none();
  float count = 0.0f;
  for (int64_t first = lane; first < p.pieces; first += 32 * kRowsInFlight) {
    Moments found[kRowsInFlight];
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const int64_t piece = first + 32 * j < p.pieces ? first + 32 * j : first;
      device const float* part = parts + piece * 2 * p.channels + channel;
      found[j] = Moments{part[0], part[p.channels]};
    }
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const int64_t piece = first + 32 * j;
      if (piece < p.pieces) {
        const float more = float(end_of_piece(p, piece) - piece * p.piece_rows);
        moments = moments.with(count, found[j], more);
        count += more;
      }
    }
  }
  for (ushort distance = 16; distance > 0; distance >>= 1) {
    // Both lanes of a pair compute the same: the lower one's numbers come first.
    const bool lower = (lane & distance) == 0;
    const Moments other{
        simd_shuffle_xor(moments.mean, distance), simd_shuffle_xor(moments.squares, distance)};
    const float more = simd_shuffle_xor(count, distance);
    moments = lower ? moments.with(count, other, more) : other.with(more, moments, count);
    count += more;
  }
  if (lane == 0) {
    const float variance = moments.squares / float(p.rows);
    means[channel] = moments.mean;
    variances[channel] = variance;
    scales[channel] = weight[channel] / metal::sqrt(variance + p.eps);
  }
}

// (x - mean) * scale + bias. The result may lie where x does.
template <int N>
kernel void batch_norm_apply(
    device const float* x [[buffer(0)]],
    device const float* means [[buffer(1)]],
    device const float* scales [[buffer(2)]],
    device const float* biases [[buffer(3)]],
    device float* out [[buffer(4)]],
    constant BatchNormParts& p [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  const BatchNormShare share = batch_norm_share<N>(p, group, lid);
  if (!share.has_work) {
    return;
  }
  float mean[N];
  float scale[N];
  float bias[N];
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    mean[k] = means[share.channel + k];
    scale[k] = scales[share.channel + k];
    bias[k] = biases[share.channel + k];
  }
  for (int64_t row = share.row; row < share.end; row += kRowsInFlight * share.step) {
    Pack<float, N> packs[kRowsInFlight];
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const int64_t at = row + j * share.step;
      packs[j] = channels_of<N>(x + share.channel, p.channels, at < share.end ? at : row);
    }
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        packs[j].values[k] = metal::fma(packs[j].values[k] - mean[k], scale[k], bias[k]);
      }
      const int64_t at = row + j * share.step;
      if (at < share.end) {
        *(device Pack<float, N>*)(out + at * p.channels + share.channel) = packs[j];
      }
    }
  }
}

// Sums of cotangents, and of their products with distances from the mean.
struct GradientSums {
  float cotangents;
  float products;
};

template <int N>
kernel void batch_norm_gradient_sums(
    device const float* cotangents [[buffer(0)]],
    device const float* x [[buffer(1)]],
    device const float* means [[buffer(2)]],
    device float* parts [[buffer(3)]],
    constant BatchNormParts& p [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  THREADGROUP_ARRAY(GradientSums, shared, [N * kBatchNormThreads]);
  const BatchNormShare share = batch_norm_share<N>(p, group, lid);
  GradientSums sums[N];
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    sums[k] = GradientSums{0.0f, 0.0f};
  }
  if (share.has_work) {
    float mean[N];
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      mean[k] = means[share.channel + k];
    }
    for (int64_t row = share.row; row < share.end; row += kRowsInFlight * share.step) {
      Pack<float, N> given[kRowsInFlight];
      Pack<float, N> packs[kRowsInFlight];
      METAL_UNROLL
      for (int j = 0; j < kRowsInFlight; ++j) {
        const int64_t next = row + j * share.step;
        const int64_t at = next < share.end ? next : row;
        given[j] = channels_of<N>(cotangents + share.channel, p.channels, at);
        packs[j] = channels_of<N>(x + share.channel, p.channels, at);
      }
      METAL_UNROLL
      for (int j = 0; j < kRowsInFlight; ++j) {
        if (row + j * share.step < share.end) {
          METAL_UNROLL
          for (int k = 0; k < N; ++k) {
            const float g = given[j].values[k];
            sums[k].cotangents += g;
            sums[k].products = metal::fma(g, packs[j].values[k] - mean[k], sums[k].products);
          }
        }
      }
    }
  }
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    shared[uint(k) * kBatchNormThreads + lid] = sums[k];
  }
  const uint width = uint(p.width);
  for (uint threads = uint(share.step); threads > 1; threads = (threads + 1) / 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint half_of_them = (threads + 1) / 2;
    if (share.place + half_of_them < threads) {
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        const uint at = uint(k) * kBatchNormThreads + lid;
        const GradientSums other = shared[at + half_of_them * width];
        sums[k].cotangents += other.cotangents;
        sums[k].products += other.products;
        shared[at] = sums[k];
      }
    }
  }
  if (share.has_work && share.place == 0) {
    device float* part = parts + int64_t(group / uint(p.blocks)) * 2 * p.channels + share.channel;
    METAL_UNROLL
    for (int k = 0; k < N; ++k) {
      part[k] = sums[k].cotangents;
      part[p.channels + k] = sums[k].products;
    }
  }
}

// A simdgroup combines the pieces of a channel. `factors` are what the last pass multiplies with:
// the scales of all channels, then their slopes, then their offsets.
kernel void batch_norm_gradient_float32_finish(
    device const float* parts [[buffer(0)]],
    device const float* weight [[buffer(1)]],
    device const float* variances [[buffer(2)]],
    device float* factors [[buffer(3)]],
    device float* of_weight [[buffer(4)]],
    device float* of_bias [[buffer(5)]],
    constant BatchNormParts& p [[buffer(6)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  const int64_t channel = int64_t(group) * simdgroups + simdgroup;
  if (channel >= p.channels) {
    return;
  }
  float sum = 0.0f;
  float product = 0.0f;
  for (int64_t first = lane; first < p.pieces; first += 32 * kRowsInFlight) {
    GradientSums found[kRowsInFlight];
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const int64_t piece = first + 32 * j < p.pieces ? first + 32 * j : first;
      device const float* part = parts + piece * 2 * p.channels + channel;
      found[j] = GradientSums{part[0], part[p.channels]};
    }
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const bool exists = first + 32 * j < p.pieces;
      sum += exists ? found[j].cotangents : 0.0f;
      product += exists ? found[j].products : 0.0f;
    }
  }
  sum = combine_lanes<SumOf<float>>(sum);
  product = combine_lanes<SumOf<float>>(product);
  if (lane == 0) {
    const float inverse = 1.0f / metal::sqrt(variances[channel] + p.eps);
    const float scale = weight[channel] * inverse;
    const float along = product * inverse;
    of_weight[channel] = along;
    of_bias[channel] = sum;
    factors[channel] = scale;
    factors[p.channels + channel] = -scale * (inverse * (along / float(p.rows)));
    factors[2 * p.channels + channel] = -scale * (sum / float(p.rows));
  }
}

// cotangent * scale + (x - mean) * slope + offset. The result may lie where one of both does.
template <int N>
kernel void batch_norm_gradient_apply(
    device const float* cotangents [[buffer(0)]],
    device const float* x [[buffer(1)]],
    device const float* means [[buffer(2)]],
    device const float* factors [[buffer(3)]],
    device float* out [[buffer(4)]],
    constant BatchNormParts& p [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  const BatchNormShare share = batch_norm_share<N>(p, group, lid);
  if (!share.has_work) {
    return;
  }
  float mean[N];
  float scale[N];
  float slope[N];
  float offset[N];
  METAL_UNROLL
  for (int k = 0; k < N; ++k) {
    mean[k] = means[share.channel + k];
    scale[k] = factors[share.channel + k];
    slope[k] = factors[p.channels + share.channel + k];
    offset[k] = factors[2 * p.channels + share.channel + k];
  }
  for (int64_t row = share.row; row < share.end; row += kRowsInFlight * share.step) {
    Pack<float, N> given[kRowsInFlight];
    Pack<float, N> packs[kRowsInFlight];
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      const int64_t next = row + j * share.step;
      const int64_t at = next < share.end ? next : row;
      given[j] = channels_of<N>(cotangents + share.channel, p.channels, at);
      packs[j] = channels_of<N>(x + share.channel, p.channels, at);
    }
    METAL_UNROLL
    for (int j = 0; j < kRowsInFlight; ++j) {
      METAL_UNROLL
      for (int k = 0; k < N; ++k) {
        const float along = metal::fma(packs[j].values[k] - mean[k], slope[k], offset[k]);
        packs[j].values[k] = metal::fma(given[j].values[k], scale[k], along);
      }
      const int64_t at = row + j * share.step;
      if (at < share.end) {
        *(device Pack<float, N>*)(out + at * p.channels + share.channel) = packs[j];
      }
    }
  }
}

REGISTER_KERNEL(batch_norm_float32_finish)
REGISTER_KERNEL(batch_norm_gradient_float32_finish)
#define NARROWS_BATCH_NORM(suffix, N)                                                        \
  INSTANTIATE_KERNEL("batch_norm_float32_moments" suffix, batch_norm_moments, N)             \
  INSTANTIATE_KERNEL("batch_norm_float32_apply" suffix, batch_norm_apply, N)                 \
  INSTANTIATE_KERNEL("batch_norm_gradient_float32_sums" suffix, batch_norm_gradient_sums, N) \
  INSTANTIATE_KERNEL("batch_norm_gradient_float32_apply" suffix, batch_norm_gradient_apply, N)
NARROWS_BATCH_NORM("", 1)
NARROWS_BATCH_NORM("_wide", 4)
