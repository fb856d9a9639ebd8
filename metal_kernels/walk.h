// How threads find their elements in strided operands.
#pragma once

// The position of a thread in a one-dimensional grid, which may have more than 2^32 threads.
METAL_FUNC int64_t thread_number(uint group, uint thread_in_group, uint threads) {
  return int64_t(group) * threads + thread_in_group;
}

// The packs of N elements of one thread in a contiguous kernel: a threadgroup's width apart, so
// that neighbouring threads have neighbouring packs.
struct PackWalk {
  int64_t first;
  int64_t step;
  bool whole; // all packs of the threadgroup are within the operands
};
METAL_FUNC PackWalk
pack_walk(uint group, uint lid, uint threads, int elements, int packs, int64_t size) {
  const int64_t step = int64_t(threads) * elements;
  const int64_t begin = int64_t(group) * packs * step;
  return PackWalk{begin + int64_t(lid) * elements, step, begin + packs * step <= size};
}

// Neighbours along the last dimension, up to p.run.
template <int kOperands>
struct Run {
  int64_t offsets[kOperands];
  int64_t strides[kOperands];
  int count; // 0: the thread has nothing to do
};

template <typename Index>
METAL_FUNC Index tiles_of(Index size, int shift) {
  return (size + (Index(1) << shift) - Index(1)) >> shift;
}

// Index is the type to divide in: 64-bit divisions are slow.
template <typename Index, int kOperands>
METAL_FUNC void locate(constant ElementwiseParams& p, Index number, thread Run<kOperands>& run) {
  const int n = p.run;
  const int last = p.ndim - 1;
  const Index extent = last < 0 ? Index(1) : Index(p.shape[last]);
  // In tiles, neighbouring threads are neighbours along another dimension first.
  const Index tile_row = number & ((Index(1) << p.tile_shift) - Index(1));
  number >>= p.tile_shift;
  bool outside = false;
  const Index chunks = (extent + Index(n) - 1) / Index(n);
  Index row = number / chunks;
  const Index first = (number - row * chunks) * Index(n);
  METAL_UNROLL
  for (int k = 0; k < kOperands; ++k) {
    run.strides[k] = last < 0 ? 0 : p.strides[k][last];
    run.offsets[k] = int64_t(first) * run.strides[k];
  }
  for (int d = last - 1; d >= 0; --d) {
    const bool tiled = d == p.tile_dim;
    const Index size = tiled ? tiles_of(Index(p.shape[d]), p.tile_shift) : Index(p.shape[d]);
    const Index rest = row / size;
    int64_t index = int64_t(row - rest * size);
    if (tiled) {
      index = (index << p.tile_shift) + int64_t(tile_row);
      outside = index >= p.shape[d];
    }
    row = rest;
    METAL_UNROLL
    for (int k = 0; k < kOperands; ++k) {
      run.offsets[k] += index * p.strides[k][d];
    }
  }
  const Index left = extent - first;
  run.count = row != 0 || outside ? 0 : left < Index(n) ? int(left) : n;
}

template <int kOperands>
METAL_FUNC Run<kOperands> run_of(constant ElementwiseParams& p, int64_t number) {
  Run<kOperands> run;
  if (p.size <= 0x7fffffff) {
    locate<uint>(p, uint(number), run);
  } else {
    locate<uint64_t>(p, uint64_t(number), run);
  }
  return run;
}

// A run of one operand. `aligned`: the operand's first element is on a multiple of 16 bytes.
template <typename T, int N>
METAL_FUNC Pack<T, N> load_run(
    device const T* from, int64_t offset, int64_t stride, int count, bool aligned) {
  if (stride == 1 && count == N && aligned && offset % N == 0) {
    return *(device const Pack<T, N>*)(from + offset);
  }
  const T first = from[offset];
  const int loads = stride == 0 ? 1 : count;
  Pack<T, N> pack;
  METAL_UNROLL
  for (int i = 0; i < N; ++i) {
    pack.values[i] = first;
    if (i > 0 && i < loads) {
      pack.values[i] = from[offset + i * stride];
    }
  }
  return pack;
}
template <typename T, int N>
METAL_FUNC void store_run(
    device T* to, int64_t offset, int64_t stride, int count, bool aligned, Pack<T, N> pack) {
  if (stride == 1 && count == N && aligned && offset % N == 0) {
    *(device Pack<T, N>*)(to + offset) = pack;
    return;
  }
  METAL_UNROLL
  for (int i = 0; i < N; ++i) {
    if (i < count) {
      to[offset + i * stride] = pack.values[i];
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
