// Convolutions. The elements that filters see are gathered tile by tile and multiplied by the
// filters.
#include "common.h"

#include "convolution.h"

template <typename Value>
METAL_FUNC Value multiply_added(Value a, Value b, Value c) {
  return metal::fma(a, b, c);
}

// The place of a filter: an entry of the batch, and a place in each dimension.
struct ConvolutionPlace {
  int64_t entry;
  int64_t at[NARROWS_CONVOLUTION_PLACES];
};

METAL_FUNC ConvolutionPlace convolution_place(int64_t row, constant ConvolutionTileParams& p) {
  ConvolutionPlace result;
  METAL_UNROLL
  for (int d = NARROWS_CONVOLUTION_PLACES - 1; d >= 0; --d) {
    result.at[d] = row % p.place_size[d];
    row /= p.place_size[d];
  }
  result.entry = row;
  return result;
}

// The place `count` rows later.
METAL_FUNC void move_on(
    thread ConvolutionPlace& place, int rows, constant ConvolutionTileParams& p) {
  int64_t more = rows;
  METAL_UNROLL
  for (int d = NARROWS_CONVOLUTION_PLACES - 1; d >= 0; --d) {
    place.at[d] += more;
    more = 0;
    while (place.at[d] >= p.place_size[d]) {
      place.at[d] -= p.place_size[d];
      ++more;
    }
  }
  place.entry += more;
}

// A column of what filters see: an element of the filter and a channel of the group.
struct ConvolutionTap {
  int64_t at[NARROWS_CONVOLUTION_PLACES];
  int64_t index; // in row-major order
  int64_t channel;
};

METAL_FUNC ConvolutionTap convolution_tap(int64_t column, constant ConvolutionTileParams& p) {
  ConvolutionTap result;
  result.channel = column % p.source_group;
  result.index = column / p.source_group;
  int64_t rest = result.index;
  METAL_UNROLL
  for (int d = NARROWS_CONVOLUTION_PLACES - 1; d >= 0; --d) {
    result.at[d] = rest % p.tap_size[d];
    rest /= p.tap_size[d];
  }
  return result;
}

METAL_FUNC void move_on(
    thread ConvolutionTap& tap, int columns, constant ConvolutionTileParams& p) {
  tap.channel += columns;
  while (tap.channel >= p.source_group) {
    tap.channel -= p.source_group;
    ++tap.index;
    ++tap.at[2];
    METAL_UNROLL
    for (int d = NARROWS_CONVOLUTION_PLACES - 1; d > 0; --d) {
      if (tap.at[d] == p.tap_size[d]) {
        tap.at[d] = 0;
        ++tap.at[d - 1];
      }
    }
  }
}

// The element of the source that an element of the filter brings to a place, or -1.
METAL_FUNC int64_t convolution_source(
    thread const ConvolutionPlace& place,
    thread const ConvolutionTap& tap,
    int64_t group,
    constant ConvolutionTileParams& p) {
  int64_t index = place.entry;
  bool is_inside = true;
  METAL_UNROLL
  for (int d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    int64_t at =
        place.at[d] * p.multiplier[d] + p.direction * (tap.at[d] * p.dilation[d] - p.padding[d]);
    if (p.divisor[d] != 1) {
      is_inside = is_inside && at % p.divisor[d] == 0;
      at /= p.divisor[d];
    }
    is_inside = is_inside && at >= 0 && at < p.source_size[d];
    index = index * p.source_size[d] + at;
  }
  return is_inside ? index * p.source_channels + group * p.source_group + tap.channel : -1;
}

// 256 threads compute 64 places of 64 channels of a group, each 4 x 4 that are 16 apart.
template <typename T>
kernel void convolution_places(
    device const T* source [[buffer(0)]],
    device const T* weights [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kTile = 64;
  constexpr int kDepth = 16;
  constexpr int kEach = 4;
  THREADGROUP_ARRAY(Value, seen, [kDepth][kTile + 1]);
  THREADGROUP_ARRAY(Value, filters, [kDepth][kTile + 1]);

  const int64_t row_tiles = (p.rows + kTile - 1) / kTile;
  const int64_t channel_tiles = (p.out_group + kTile - 1) / kTile;
  const int64_t row0 = int64_t(threadgroup_index) % row_tiles * kTile;
  const int64_t rest = int64_t(threadgroup_index) / row_tiles;
  const int64_t channel0 = rest % channel_tiles * kTile;
  const int64_t group = rest / channel_tiles;
  weights += group * p.weight_group;
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;

  // This thread gathers column tx of the rows ty, ty + 16, ...
  ConvolutionPlace places[kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    places[i] = convolution_place(row0 + ty + 16 * i, p);
  }
  ConvolutionTap tap = convolution_tap(tx, p);
  Value sums[kEach][kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      sums[i][j] = Value(0);
    }
  }
  for (int64_t column0 = 0; column0 < p.columns; column0 += kDepth) {
    const bool is_column = column0 + tx < p.columns;
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const bool is_row = is_column && row0 + ty + 16 * i < p.rows;
      const int64_t from = is_row ? convolution_source(places[i], tap, group, p) : -1;
      const Value value = Value(source[from < 0 ? 0 : from]);
      seen[tx][ty + 16 * i] = from < 0 ? Value(0) : value;
      const int64_t channel = channel0 + ty + 16 * i;
      const bool is_weight = is_column && channel < p.out_group;
      const int64_t weight =
          channel * p.weight_out + tap.index * p.weight_tap + tap.channel * p.weight_source;
      const Value factor = Value(weights[is_weight ? weight : 0]);
      filters[tx][ty + 16 * i] = is_weight ? factor : Value(0);
    }
    move_on(tap, kDepth, p);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        METAL_UNROLL
        for (int j = 0; j < kEach; ++j) {
          sums[i][j] = multiply_added(seen[k][ty + 16 * i], filters[k][tx + 16 * j], sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t row = row0 + ty + 16 * i;
      const int64_t channel = channel0 + tx + 16 * j;
      if (row < p.rows && channel < p.out_group) {
        out[row * p.out_channels + group * p.out_group + channel] = T(sums[i][j]);
      }
    }
  }
}

// The same for groups of few channels. A thread computes one result.
template <typename T>
kernel void convolution_direct(
    device const T* source [[buffer(0)]],
    device const T* weights [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  const int64_t element = int64_t(threadgroup_index) * 256 + lid;
  if (element >= p.rows * p.out_channels) {
    return;
  }
  const int64_t channel = element % p.out_channels;
  const int64_t group = channel / p.out_group;
  const ConvolutionPlace place = convolution_place(element / p.out_channels, p);
  weights += group * p.weight_group + channel % p.out_group * p.weight_out;
  ConvolutionTap tap = convolution_tap(0, p);
  Value sum = Value(0);
  for (int64_t column = 0; column < p.columns; ++column) {
    const int64_t from = convolution_source(place, tap, group, p);
    const Value value = Value(source[from < 0 ? 0 : from]);
    const Value factor = Value(weights[tap.index * p.weight_tap + tap.channel * p.weight_source]);
    sum = multiply_added(from < 0 ? Value(0) : value, factor, sum);
    move_on(tap, 1, p);
  }
  out[element] = T(sum);
}

// 256 threads compute 64 channels of y by 64 columns of the weights of a group, over one piece of
// the places. Pieces lie one after the other.
template <typename T>
kernel void convolution_weights(
    device const T* x [[buffer(0)]],
    device const T* y [[buffer(1)]],
    device Compute<T>* pieces [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kTile = 64;
  constexpr int kDepth = 16;
  constexpr int kEach = 4;
  THREADGROUP_ARRAY(Value, of_y, [kDepth][kTile + 1]);
  THREADGROUP_ARRAY(Value, seen, [kDepth][kTile + 1]);

  const int64_t column_tiles = (p.columns + kTile - 1) / kTile;
  const int64_t channel_tiles = (p.out_group + kTile - 1) / kTile;
  int64_t rest = int64_t(threadgroup_index);
  const int64_t column0 = rest % column_tiles * kTile;
  rest /= column_tiles;
  const int64_t channel0 = rest % channel_tiles * kTile;
  rest /= channel_tiles;
  const int64_t group = rest % p.groups;
  const int64_t piece = rest / p.groups;
  const int64_t begin = piece * p.piece_rows;
  const int64_t end = metal::min(begin + p.piece_rows, p.rows);
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;

  // This thread gathers the rows my_row, my_row + 4, ... of one column and of one channel.
  const int my_row = int(lid) / kTile;
  const int mine = int(lid) % kTile;
  const bool is_column = column0 + mine < p.columns;
  const bool is_channel = channel0 + mine < p.out_group;
  const ConvolutionTap tap = convolution_tap(is_column ? column0 + mine : 0, p);
  ConvolutionPlace place = convolution_place(begin + my_row, p);
  const int64_t y_channel = group * p.out_group + (is_channel ? channel0 + mine : 0);
  Value sums[kEach][kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      sums[i][j] = Value(0);
    }
  }
  for (int64_t row0 = begin; row0 < end; row0 += kDepth) {
    METAL_UNROLL
    for (int k = 0; k < kDepth; k += 4) {
      const int64_t row = row0 + my_row + k;
      const bool is_row = row < end;
      const int64_t from = is_row && is_column ? convolution_source(place, tap, group, p) : -1;
      const Value value = Value(x[from < 0 ? 0 : from]);
      seen[my_row + k][mine] = from < 0 ? Value(0) : value;
      const Value factor = Value(y[(is_row ? row : 0) * p.out_channels + y_channel]);
      of_y[my_row + k][mine] = is_row && is_channel ? factor : Value(0);
      move_on(place, 4, p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        METAL_UNROLL
        for (int j = 0; j < kEach; ++j) {
          sums[i][j] = multiply_added(of_y[k][ty + 16 * i], seen[k][tx + 16 * j], sums[i][j]);
        }
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  pieces += piece * p.out_channels * p.columns;
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t channel = channel0 + ty + 16 * i;
      const int64_t column = column0 + tx + 16 * j;
      if (channel < p.out_group && column < p.columns) {
        pieces[(group * p.out_group + channel) * p.columns + column] = sums[i][j];
      }
    }
  }
}

// Adds the pieces.
template <typename T>
kernel void convolution_sum(
    device const Compute<T>* pieces [[buffer(0)]],
    device T* out [[buffer(1)]],
    constant ConvolutionSumParams& p [[buffer(2)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  const int64_t element = int64_t(threadgroup_index) * 256 + lid;
  if (element >= p.size) {
    return;
  }
  Compute<T> sum = pieces[element];
  for (int64_t piece = 1; piece < p.pieces; ++piece) {
    sum += pieces[piece * p.size + element];
  }
  out[element] = T(sum);
}

#define NARROWS_CONVOLUTION(T, tname, unused)                              \
  INSTANTIATE_KERNEL("convolution_places_" tname, convolution_places, T)   \
  INSTANTIATE_KERNEL("convolution_direct_" tname, convolution_direct, T)   \
  INSTANTIATE_KERNEL("convolution_weights_" tname, convolution_weights, T) \
  INSTANTIATE_KERNEL("convolution_sum_" tname, convolution_sum, T)
NARROWS_TYPES_floating(NARROWS_CONVOLUTION, unused)
