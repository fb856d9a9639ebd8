// How threads find their elements in strided operands.
#pragma once

#include "elementwise.h"

// The position of a thread in a one-dimensional grid. There may be more than 2^32 threads.
METAL_FUNC int64_t thread_number(uint group, uint thread_in_group, uint threads) {
  return int64_t(group) * threads + thread_in_group;
}

// The packs of N elements of a thread in a contiguous kernel. They are a threadgroup's width apart,
// so that neighbouring threads have neighbouring packs.
struct PackWalk {
  int64_t first;
  int64_t step;
  bool whole; // all packs of the threadgroup lie within the operands
};
METAL_FUNC PackWalk
pack_walk(uint group, uint lid, uint threads, int elements, int packs, int64_t size) {
  const int64_t step = int64_t(threads) * elements;
  const int64_t begin = int64_t(group) * packs * step;
  return PackWalk{begin + int64_t(lid) * elements, step, begin + packs * step <= size};
}

// The position of a thread of a strided kernel: one run of elements in each of its rows.
template <int kOperands>
struct RowWalk {
  int64_t offsets[kOperands]; // of the run's first element, by operand; the output is the last
  int64_t rows;               // from the thread's row on
  int left;   // elements from the run's first one on; two runs' length stands for more
  bool first; // of the runs in its row
};

// False if the thread has nothing to do. The host makes sure that the divided numbers fit into 32
// bits.
template <int N, int kOperands>
METAL_FUNC bool find_rows(
    constant StridedParams& p, int64_t thread_number, thread RowWalk<kOperands>& walk) {
  if (thread_number >= p.threads) {
    return false;
  }
  uint number = uint(thread_number);
  const uint tile_row = number & ((1u << p.tile_shift) - 1u);
  number >>= p.tile_shift;
  METAL_UNROLL
  for (int k = 0; k < kOperands; ++k) {
    walk.offsets[k] = 0;
  }
  METAL_ROLLED
  for (int d = p.ndim - 1; d > 1; --d) {
    const uint index = number / p.pitches[d];
    number -= index * p.pitches[d];
    METAL_UNROLL
    for (int k = 0; k < kOperands; ++k) {
      walk.offsets[k] += int64_t(index) * p.strides[k][d];
    }
  }
  const uint block = number / p.pitches[1];
  const int64_t run = number - block * p.pitches[1];
  const int64_t row = (int64_t(block) << p.tile_shift) + tile_row;
  METAL_UNROLL
  for (int k = 0; k < kOperands; ++k) {
    walk.offsets[k] += run * N * p.strides[k][0] + row * p.strides[k][1];
  }
  walk.rows = p.shape[1] - row;
  const int64_t left = p.shape[0] - run * N;
  walk.left = left < 2 * N ? int(left) : 2 * N;
  walk.first = run == 0;
  return true;
}

template <int kOperands>
METAL_FUNC void next_row(constant StridedParams& p, thread RowWalk<kOperands>& walk) {
  METAL_UNROLL
  for (int k = 0; k < kOperands; ++k) {
    walk.offsets[k] += p.row_steps[k];
  }
  walk.rows -= p.row_step;
}

// The elements begin <= i < end of a run belong to the row. If the output is dense along rows, runs
// begin at packs: `back` elements before the walk's offset.
struct Span {
  int back;
  int begin;
  int end;
};
template <int N, int kOperands>
METAL_FUNC Span span_of(constant StridedParams& p, thread const RowWalk<kOperands>& walk) {
  const int out = kOperands - 1;
  Span span;
  span.back = (p.phases[out] + int(walk.offsets[out])) & p.align_mask;
  span.begin = walk.first ? span.back : 0;
  span.end = metal::min(walk.left + span.back, N);
  return span;
}

// The elements of a run as 32-bit words, because GPUs cannot index registers by a variable.
template <typename T, int N>
struct alignas(N * sizeof(T) < 4 ? 4 : N * sizeof(T)) RunWords {
  enum { count = N * sizeof(T) < 4 ? 1 : N * sizeof(T) / 4 };
  uint values[count];
};
template <typename T, int N>
union RunBits {
  RunWords<T, N> words;
  Pack<T, N> pack;
};

// The packs that were read for a run. It begins at element `shift` of `low` and ends in `high`.
template <typename T, int N>
struct RunReads {
  RunBits<T, N> low;
  RunBits<T, N> high;
  int shift;
};

// Neighbours are read as the one or two packs that contain them, wherever they begin, if these lie
// within the operand.
template <typename T, int N, int kOperands>
METAL_FUNC RunReads<T, N> read_run(
    device const T* from,
    int k,
    constant StridedParams& p,
    thread const RowWalk<kOperands>& walk,
    Span span) {
  const int64_t stride = p.strides[k][0];
  RunReads<T, N> reads;
  reads.low.words = RunWords<T, N>{};
  reads.high.words = RunWords<T, N>{};
  reads.shift = 0;
  if (stride == 0) {
    const T x = from[walk.offsets[k]];
    METAL_UNROLL
    for (int i = 0; i < N; ++i) {
      reads.low.pack.values[i] = x;
    }
    return reads;
  }
  const int64_t offset = walk.offsets[k] - span.back * stride;
  if (stride == 1 && N * sizeof(T) >= 4) {
    const int shift = (p.phases[k] + int(offset)) & (N - 1);
    const int64_t at = offset - shift;
    const bool both = span.end + shift > N;
    if (at >= p.begins[k] && at + (both ? 2 * N : N) <= p.ends[k]) {
      reads.low.words = *(device const RunWords<T, N>*)(from + at);
      if (both) {
        reads.high.words = *(device const RunWords<T, N>*)(from + at + N);
      }
      reads.shift = shift;
      return reads;
    }
  }
  // All loads start before the first result is used, so none of them has a condition.
  device const T* at = from + offset + span.begin * stride;
  METAL_UNROLL
  for (int i = 0; i < N; ++i) {
    reads.low.pack.values[i] = *at;
    at += i >= span.begin && i + 1 < span.end ? stride : 0;
  }
  return reads;
}

template <typename T, int N>
METAL_FUNC Pack<T, N> run_of(RunReads<T, N> reads) {
  constexpr int kWords = RunWords<T, N>::count;
  constexpr int kBoth = 2 * kWords;
  uint words[kBoth + 1];
  METAL_UNROLL
  for (int i = 0; i < kWords; ++i) {
    words[i] = reads.low.words.values[i];
    words[kWords + i] = reads.high.words.values[i];
  }
  words[kBoth] = 0;
  const int bytes = reads.shift * int(sizeof(T));
  METAL_UNROLL
  for (int step = kWords / 2; step > 0; step /= 2) {
    METAL_UNROLL
    for (int i = 0; i < kBoth - step; ++i) {
      words[i] = (bytes & (4 * step)) != 0 ? words[i + step] : words[i];
    }
  }
  RunBits<T, N> run;
  METAL_UNROLL
  for (int i = 0; i < kWords; ++i) {
    const uint64_t pair = uint64_t(words[i + 1]) << 32 | words[i];
    run.words.values[i] = sizeof(T) >= 4 ? words[i] : uint(pair >> ((bytes & 3) * 8));
  }
  return run.pack;
}

template <typename T, int N, int kOperands>
METAL_FUNC void write_run(
    device T* to,
    constant StridedParams& p,
    thread const RowWalk<kOperands>& walk,
    Span span,
    Pack<T, N> run) {
  const int out = kOperands - 1;
  const int64_t stride = p.strides[out][0];
  const int64_t offset = walk.offsets[out] - span.back * stride;
  if (stride == 1 && span.end - span.begin == N && ((p.phases[out] + int(offset)) & (N - 1)) == 0) {
    *(device Pack<T, N>*)(to + offset) = run;
    return;
  }
  METAL_UNROLL
  for (int i = 0; i < N; ++i) {
    if (i >= span.begin && i < span.end) {
      to[offset + i * stride] = run.values[i];
    }
  }
}

// The offset of element `index` in row-major order of the shape.
template <typename Index>
METAL_FUNC int64_t
offset_of(Index index, int ndim, constant int64_t* shape, constant int64_t* strides) {
  int64_t offset = 0;
  for (int d = ndim - 1; d >= 0; --d) {
    const Index rest = index / Index(shape[d]);
    offset += int64_t(index - rest * Index(shape[d])) * strides[d];
    index = rest;
  }
  return offset;
}
