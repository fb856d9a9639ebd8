// Convolutions. The elements that filters see are gathered tile by tile and multiplied by the
// filters.
#include "common.h"

#include "convolution.h"

// A thread's share of a tile is 4 x 4. Operands lie in threadgroup memory as fours of these.
template <typename Value>
struct alignas(16) ConvolutionFour {
  Value values[4];
};

// Where a filter lies. Coordinates are of type Index, int32_t where the sizes allow it.
template <typename Index>
struct ConvolutionPlace {
  Index at[NARROWS_CONVOLUTION_PLACES]; // where the filter's first element would look
  int64_t offset;                       // of the source's element there
  bool is_there;
};

// An element of the filter.
template <typename Index>
struct ConvolutionElement {
  Index at[NARROWS_CONVOLUTION_PLACES];
};

// An element of the filter and a channel of the source, relative to a place.
template <typename Index>
struct ConvolutionTap {
  Index at[NARROWS_CONVOLUTION_PLACES];
  int64_t offset;
  int64_t weight; // the place of its weight, without the channel of the result
};

// Those of four columns.
template <typename Index>
struct ConvolutionTaps {
  ConvolutionTap<Index> of[4];
};

// A thread's share of the results.
template <typename Value>
struct ConvolutionSums {
  Value of[4][4];
};

template <typename Index>
METAL_FUNC ConvolutionPlace<Index> convolution_place(
    int64_t row, int64_t end, int64_t group, constant ConvolutionTileParams& p) {
  ConvolutionPlace<Index> result;
  Index rest = Index(row);
  result.offset = group * p.source_group;
  METAL_UNROLL
  for (int d = NARROWS_CONVOLUTION_PLACES - 1; d >= 0; --d) {
    const Index before = rest / Index(p.place_size[d]);
    const Index place = rest - before * Index(p.place_size[d]);
    result.at[d] = place * Index(p.multiplier[d]) - Index(p.direction * p.padding[d]);
    if (p.is_divided == 0) {
      result.offset += int64_t(result.at[d]) * p.source_stride[d];
    }
    rest = before;
  }
  result.offset += int64_t(rest) * p.source_entry;
  result.is_there = row < end;
  return result;
}

template <typename Index>
METAL_FUNC ConvolutionTap<Index> convolution_tap(
    ConvolutionElement<Index> element, Index channel, constant ConvolutionTileParams& p) {
  ConvolutionTap<Index> result;
  Index index = 0;
  result.offset = channel;
  METAL_UNROLL
  for (int d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    result.at[d] = element.at[d] * Index(p.direction * p.dilation[d]);
    if (p.is_divided == 0) {
      result.offset += int64_t(result.at[d]) * p.source_stride[d];
    }
    index = index * Index(p.tap_size[d]) + element.at[d];
  }
  result.weight = index * p.weight_tap + channel * p.weight_source;
  return result;
}

// The tap of a column.
template <typename Index>
METAL_FUNC ConvolutionTap<Index> tap_of_column(int64_t column, constant ConvolutionTileParams& p) {
  Index rest = Index(column) / Index(p.source_group);
  const Index channel = Index(column) - rest * Index(p.source_group);
  ConvolutionElement<Index> element;
  METAL_UNROLL
  for (int d = NARROWS_CONVOLUTION_PLACES - 1; d >= 0; --d) {
    const Index before = rest / Index(p.tap_size[d]);
    element.at[d] = rest - before * Index(p.tap_size[d]);
    rest = before;
  }
  return convolution_tap<Index>(element, channel, p);
}

// The element of the source that a tap brings to a place, or -1.
template <typename Index>
METAL_FUNC int64_t convolution_source(
    ConvolutionPlace<Index> place, ConvolutionTap<Index> tap, constant ConvolutionTileParams& p) {
  int64_t offset = place.offset + tap.offset;
  bool is_inside = place.is_there;
  METAL_UNROLL
  for (int d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
    Index at = place.at[d] + tap.at[d];
    if (p.is_divided != 0) {
      const Index whole = at / Index(p.divisor[d]);
      is_inside = is_inside && whole * Index(p.divisor[d]) == at;
      at = whole;
      offset += int64_t(at) * p.source_stride[d];
    }
    is_inside = is_inside && at >= 0 && at < Index(p.source_size[d]);
  }
  return is_inside ? offset : -1;
}

// Four columns of what a place sees. They are channels of one tap where `in_fours` says so.
template <typename T, typename Index>
METAL_FUNC ConvolutionFour<Compute<T>> convolution_four(
    device const T* source,
    ConvolutionPlace<Index> place,
    thread const ConvolutionTaps<Index>& taps,
    int columns, // that there are
    constant ConvolutionTileParams& p) {
  using Value = Compute<T>;
  ConvolutionFour<Value> result;
  if (p.in_fours != 0) {
    const int64_t from = columns > 0 ? convolution_source<Index>(place, taps.of[0], p) : -1;
    const Pack<T, 4> pack = *(device const Pack<T, 4>*)(source + (from < 0 ? 0 : from));
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      result.values[j] = from < 0 ? Value(0) : Value(pack.values[j]);
    }
    return result;
  }
  METAL_UNROLL
  for (int j = 0; j < 4; ++j) {
    const int64_t from = j < columns ? convolution_source<Index>(place, taps.of[j], p) : -1;
    const Value value = Value(source[from < 0 ? 0 : from]);
    result.values[j] = from < 0 ? Value(0) : value;
  }
  return result;
}

// Adds the products of four values and four others.
template <typename Value>
METAL_FUNC void add_products(
    ConvolutionFour<Value> a, ConvolutionFour<Value> b, thread ConvolutionSums<Value>& sums) {
  METAL_UNROLL
  for (int i = 0; i < 4; ++i) {
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      sums.of[i][j] = metal::fma(a.values[i], b.values[j], sums.of[i][j]);
    }
  }
}

template <typename Value>
METAL_FUNC ConvolutionSums<Value> zeros_of_sums() {
  ConvolutionSums<Value> sums;
  METAL_UNROLL
  for (int i = 0; i < 4; ++i) {
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      sums.of[i][j] = Value(0);
    }
  }
  return sums;
}

// 256 threads compute kChannels channels of a group at 4096 / kChannels places.
template <typename T, int kChannels, typename Index>
kernel void convolution_places(
    device const T* source [[buffer(0)]],
    device const T* weights [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  using Four = ConvolutionFour<Value>;
  constexpr int kThreads = 256;
  constexpr int kRows = 4096 / kChannels;
  constexpr int kDepth = 16;
  constexpr int kEach = kRows * kDepth / 4 / kThreads; // places that a thread gathers for
  THREADGROUP_ARRAY(Four, seen, [kDepth][kRows / 4 + 1]);
  THREADGROUP_ARRAY(Four, filters, [kDepth][kChannels / 4]);
  THREADGROUP_ARRAY(ConvolutionTap<Index>, taps, [2][kDepth]); // of these columns and the next

  const int64_t row_tiles = (p.rows + kRows - 1) / kRows;
  const int64_t channel_tiles = (p.out_group + kChannels - 1) / kChannels;
  const int64_t row0 = int64_t(threadgroup_index) % row_tiles * kRows;
  const int64_t rest = int64_t(threadgroup_index) / row_tiles;
  const int64_t channel0 = rest % channel_tiles * kChannels;
  const int64_t group = rest / channel_tiles;
  weights += group * p.weight_group;
  const int ty = int(lid) / (kChannels / 4);
  const int tx = int(lid) % (kChannels / 4);

  // This thread gathers the columns 4 * my_four, ... of the rows my_row, my_row + 64, ...
  const int my_row = int(lid) / (kDepth / 4);
  const int my_four = int(lid) % (kDepth / 4);
  ConvolutionPlace<Index> places[kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    places[i] = convolution_place<Index>(row0 + my_row + 64 * i, p.rows, group, p);
  }
  ConvolutionSums<Value> sums = zeros_of_sums<Value>();
  if (lid < kDepth) {
    taps[0][lid] = tap_of_column<Index>(lid, p);
  }
  int current = 0;
  for (int64_t column0 = 0; column0 < p.columns; column0 += kDepth) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const int columns = int(metal::min(p.columns - column0, int64_t(kDepth)));
    ConvolutionTaps<Index> mine;
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      mine.of[j] = taps[current][4 * my_four + j];
    }
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const Four four =
          convolution_four<T, Index>(source, places[i], mine, columns - 4 * my_four, p);
      const int row = my_row + 64 * i;
      METAL_UNROLL
      for (int j = 0; j < 4; ++j) {
        seen[4 * my_four + j][row / 4].values[row % 4] = four.values[j];
      }
    }
    METAL_UNROLL
    for (int e = 0; e < kDepth * kChannels; e += kThreads) {
      // Neighbours among the weights are channels of the result or of the source.
      const int at = int(lid) + e;
      const int k = p.weight_out == 1 ? at / kChannels : at % kDepth;
      const int channel = p.weight_out == 1 ? at % kChannels : at / kDepth;
      const bool is_weight = k < columns && channel0 + channel < p.out_group;
      const int64_t weight = (channel0 + channel) * p.weight_out + taps[current][k].weight;
      const Value factor = Value(weights[is_weight ? weight : 0]);
      filters[k][channel / 4].values[channel % 4] = is_weight ? factor : Value(0);
    }
    current = 1 - current;
    if (lid < kDepth) {
      taps[current][lid] = tap_of_column<Index>(column0 + kDepth + lid, p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      add_products<Value>(seen[k][ty], filters[k][tx], sums);
    }
  }
  METAL_UNROLL
  for (int i = 0; i < 4; ++i) {
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int64_t row = row0 + 4 * ty + i;
      const int64_t channel = channel0 + 4 * tx + j;
      if (row < p.rows && channel < p.out_group) {
        out[row * p.out_channels + group * p.out_group + channel] = T(sums.of[i][j]);
      }
    }
  }
}

// The same for groups of few channels. A thread computes one result.
template <typename T, typename Index>
kernel void convolution_direct(
    device const T* source [[buffer(0)]],
    device const T* weights [[buffer(1)]],
    device T* out [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  const int64_t result = int64_t(threadgroup_index) * 256 + lid;
  if (result >= p.rows * p.out_channels) {
    return;
  }
  const int64_t channel = result % p.out_channels;
  const int64_t group = channel / p.out_group;
  const ConvolutionPlace<Index> place =
      convolution_place<Index>(result / p.out_channels, p.rows, group, p);
  weights += group * p.weight_group + channel % p.out_group * p.weight_out;
  Value sum = Value(0);
  ConvolutionElement<Index> element;
  for (element.at[0] = 0; element.at[0] < Index(p.tap_size[0]); ++element.at[0]) {
    for (element.at[1] = 0; element.at[1] < Index(p.tap_size[1]); ++element.at[1]) {
      for (element.at[2] = 0; element.at[2] < Index(p.tap_size[2]); ++element.at[2]) {
        const ConvolutionTap<Index> tap = convolution_tap<Index>(element, 0, p);
        const int64_t from = convolution_source<Index>(place, tap, p);
        for (int64_t c = 0; c < p.source_group; ++c) {
          const Value value = Value(source[from < 0 ? 0 : from + c]);
          const Value factor = Value(weights[tap.weight + c * p.weight_source]);
          sum = metal::fma(from < 0 ? Value(0) : value, factor, sum);
        }
      }
    }
  }
  out[result] = T(sum);
}

// 256 threads compute kChannels channels of y by 4096 / kChannels columns of the weights of a
// group, over one piece of the places. Pieces lie one after the other.
template <typename T, int kChannels, typename Index>
kernel void convolution_weights(
    device const T* x [[buffer(0)]],
    device const T* y [[buffer(1)]],
    device Compute<T>* pieces [[buffer(2)]],
    constant ConvolutionTileParams& p [[buffer(3)]],
    uint threadgroup_index [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  using Four = ConvolutionFour<Value>;
  constexpr int kThreads = 256;
  constexpr int kColumns = 4096 / kChannels;
  constexpr int kFours = kColumns / 4;
  constexpr int kDepth = 16;
  constexpr int kAtOnce = kThreads / kFours; // rows
  THREADGROUP_ARRAY(Four, of_y, [kDepth][kChannels / 4]);
  THREADGROUP_ARRAY(Four, seen, [kDepth][kFours]);
  THREADGROUP_ARRAY(ConvolutionPlace<Index>, places, [2][kDepth]); // of these rows and the next

  const int64_t column_tiles = (p.columns + kColumns - 1) / kColumns;
  const int64_t channel_tiles = (p.out_group + kChannels - 1) / kChannels;
  int64_t rest = int64_t(threadgroup_index);
  const int64_t column0 = rest % column_tiles * kColumns;
  rest /= column_tiles;
  const int64_t channel0 = rest % channel_tiles * kChannels;
  rest /= channel_tiles;
  const int64_t group = rest % p.groups;
  const int64_t piece = rest / p.groups;
  const int64_t begin = piece * p.piece_rows;
  const int64_t end = metal::min(begin + p.piece_rows, p.rows);
  const int ty = int(lid) / kFours;
  const int tx = int(lid) % kFours;

  // This thread gathers the columns 4 * tx, ... of the rows ty, ty + kAtOnce, ...
  const int columns = int(metal::min(p.columns - column0 - 4 * tx, int64_t(4)));
  ConvolutionTaps<Index> taps;
  METAL_UNROLL
  for (int j = 0; j < 4; ++j) {
    taps.of[j] = tap_of_column<Index>(j < columns ? column0 + 4 * tx + j : 0, p);
  }
  ConvolutionSums<Value> sums = zeros_of_sums<Value>();
  if (lid < kDepth) {
    places[0][lid] = convolution_place<Index>(begin + lid, end, group, p);
  }
  int current = 0;
  for (int64_t row0 = begin; row0 < end; row0 += kDepth) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; k += kAtOnce) {
      seen[ty + k][tx] = convolution_four<T, Index>(x, places[current][ty + k], taps, columns, p);
    }
    METAL_UNROLL
    for (int e = 0; e < kDepth * kChannels; e += kThreads) {
      const int k = (int(lid) + e) / kChannels;
      const int channel = (int(lid) + e) % kChannels;
      const bool is_value = row0 + k < end && channel0 + channel < p.out_group;
      const int64_t from = (row0 + k) * p.out_channels + group * p.out_group + channel0 + channel;
      const Value value = Value(y[is_value ? from : 0]);
      of_y[k][channel / 4].values[channel % 4] = is_value ? value : Value(0);
    }
    current = 1 - current;
    if (lid < kDepth) {
      places[current][lid] = convolution_place<Index>(row0 + kDepth + lid, end, group, p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    METAL_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      add_products<Value>(of_y[k][ty], seen[k][tx], sums);
    }
  }
  pieces += piece * p.out_channels * p.columns;
  METAL_UNROLL
  for (int i = 0; i < 4; ++i) {
    METAL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int64_t channel = channel0 + 4 * ty + i;
      if (channel < p.out_group && j < columns) {
        const int64_t row = group * p.out_group + channel;
        pieces[row * p.columns + column0 + 4 * tx + j] = sums.of[i][j];
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

// "long": coordinates of 64 bits. float64 has tiles of one kind only: others would not fit into
// threadgroup memory.
#define NARROWS_CONVOLUTION(T, tname, unused)                                                   \
  INSTANTIATE_KERNEL("convolution_places_64_" tname, convolution_places, T, 64, int32_t)        \
  INSTANTIATE_KERNEL("convolution_places_64_long_" tname, convolution_places, T, 64, int64_t)   \
  INSTANTIATE_KERNEL("convolution_direct_" tname, convolution_direct, T, int32_t)               \
  INSTANTIATE_KERNEL("convolution_direct_long_" tname, convolution_direct, T, int64_t)          \
  INSTANTIATE_KERNEL("convolution_weights_64_" tname, convolution_weights, T, 64, int32_t)      \
  INSTANTIATE_KERNEL("convolution_weights_64_long_" tname, convolution_weights, T, 64, int64_t) \
  INSTANTIATE_KERNEL("convolution_sum_" tname, convolution_sum, T)
NARROWS_TYPES_floating(NARROWS_CONVOLUTION, unused)
#define NARROWS_CONVOLUTION_OF_FEW(T, tname)                                               \
  INSTANTIATE_KERNEL("convolution_places_32_" tname, convolution_places, T, 32, int32_t)   \
  INSTANTIATE_KERNEL("convolution_places_16_" tname, convolution_places, T, 16, int32_t)   \
  INSTANTIATE_KERNEL("convolution_weights_32_" tname, convolution_weights, T, 32, int32_t) \
  INSTANTIATE_KERNEL("convolution_weights_16_" tname, convolution_weights, T, 16, int32_t)
    NARROWS_CONVOLUTION_OF_FEW(float, "float32") NARROWS_CONVOLUTION_OF_FEW(half, "float16")
        NARROWS_CONVOLUTION_OF_FEW(bfloat, "bfloat16")
