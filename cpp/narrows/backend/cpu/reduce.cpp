#include <algorithm>
#include <cstdlib>

#include "metal_kernels/reduce.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/reduce_split.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

ReduceTile reduce_tile(ReduceOp op, Dtype in) {
  return NARROWS_AT_BEST_ISA(reduce_tile(op, in));
}

ArgReduceTile arg_reduce_tile(ArgReduceOp op, Dtype in) {
  return NARROWS_AT_BEST_ISA(arg_reduce_tile(op, in));
}

namespace {

// Strips of a row that are narrower than this waste cache lines and prefetching.
constexpr int64_t kStripColumns = 256;

// The dimensions of a call, without those of size 1 and with neighbours merged where possible.
// There is at least one kept and one reduced dimension.
struct Dims {
  int ndim = 0;
  int64_t shape[NARROWS_MAX_DIMS];
  int64_t in_strides[NARROWS_MAX_DIMS];
  int64_t out_strides[NARROWS_MAX_DIMS]; // zero for reduced dimensions

  void push(int64_t size, int64_t in_stride, int64_t out_stride) {
    if (size == 1) {
      return;
    }
    if (ndim > 0 && in_strides[ndim - 1] == in_stride * size &&
        out_strides[ndim - 1] == out_stride * size) {
      shape[ndim - 1] *= size;
    } else {
      shape[ndim++] = size;
    }
    in_strides[ndim - 1] = in_stride;
    out_strides[ndim - 1] = out_stride;
  }

  void finish() {
    if (ndim == 0) {
      shape[0] = in_strides[0] = out_strides[0] = 1;
      ndim = 1;
    }
  }

  int64_t inner_shape() const {
    return shape[ndim - 1];
  }
  int64_t inner_stride() const {
    return in_strides[ndim - 1];
  }

  // The same dimensions, ordered by descending input strides.
  Dims by_stride() const {
    if (ndim == 1) {
      return *this;
    }
    int order[NARROWS_MAX_DIMS];
    for (int d = 0; d < ndim; ++d) {
      int at = d;
      for (; at > 0 && std::abs(in_strides[order[at - 1]]) < std::abs(in_strides[d]); --at) {
        order[at] = order[at - 1];
      }
      order[at] = d;
    }
    Dims sorted;
    for (int d = 0; d < ndim; ++d) {
      sorted.push(shape[order[d]], in_strides[order[d]], out_strides[order[d]]);
    }
    sorted.finish();
    return sorted;
  }
};

Dims kept_dims(const ReduceParams& params) {
  Dims dims;
  int64_t out_strides[NARROWS_MAX_DIMS];
  int64_t out_stride = 1;
  for (int d = params.kept_ndim; d-- > 0;) {
    out_strides[d] = out_stride;
    out_stride *= params.kept_shape[d];
  }
  for (int d = 0; d < params.kept_ndim; ++d) {
    dims.push(params.kept_shape[d], params.kept_strides[d], out_strides[d]);
  }
  dims.finish();
  return dims;
}

Dims reduced_dims(const ReduceParams& params) {
  Dims dims;
  for (int d = 0; d < params.reduced_ndim; ++d) {
    dims.push(params.reduced_shape[d], params.reduced_strides[d], 0);
  }
  dims.finish();
  return dims;
}

// Calls f(position, count, in_offset, out_offset) for the runs along the inner dimension, of at
// most `longest` elements, that cover the row-major positions [begin, end).
template <typename F>
void for_each_run(const Dims& dims, int64_t begin, int64_t end, int64_t longest, F&& f) {
  if (begin >= end) {
    return;
  }
  const int inner = dims.ndim - 1;
  int64_t index[NARROWS_MAX_DIMS];
  int64_t in_offset = 0;
  int64_t out_offset = 0;
  int64_t rest = begin;
  for (int d = inner; d >= 0; --d) {
    // Most ranges begin at zero, and divisions are slow.
    index[d] = rest == 0 ? 0 : rest % dims.shape[d];
    rest = rest == 0 ? 0 : rest / dims.shape[d];
    in_offset += index[d] * dims.in_strides[d];
    out_offset += index[d] * dims.out_strides[d];
  }
  for (int64_t position = begin; position < end;) {
    const int64_t count = std::min({dims.shape[inner] - index[inner], end - position, longest});
    f(position, count, in_offset, out_offset);
    position += count;
    index[inner] += count;
    in_offset += count * dims.in_strides[inner];
    out_offset += count * dims.out_strides[inner];
    for (int d = inner; d > 0 && index[d] == dims.shape[d]; --d) {
      index[d] = 0;
      index[d - 1] += 1;
      in_offset += dims.in_strides[d - 1] - dims.shape[d] * dims.in_strides[d];
      out_offset += dims.out_strides[d - 1] - dims.shape[d] * dims.out_strides[d];
    }
  }
}

// How a call is shared among threads.
struct Split {
  int64_t pieces; // of the reduced range
  int64_t grain;  // least number of outputs for a thread, if there is one piece
};

Split split_of(const Dims& kept, int64_t out_size, int64_t reduce_size) {
  if (out_size * reduce_size <= kThreadElements) {
    return {1, std::max<int64_t>(1, out_size)};
  }
  const int64_t pieces = reduce_pieces(out_size, reduce_size);
  if (pieces > 1) {
    return {pieces, out_size};
  }
  const int64_t least = kept.inner_stride() == 1 && kept.inner_shape() > 1 ? kStripColumns : 1;
  return {1, std::max(least, kThreadElements / reduce_size)};
}

void run_reduce(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const ReduceParams*>(params);
  const auto* in = static_cast<const char*>(operands[0]);
  auto* out = static_cast<char*>(operands[1]);
  const int64_t in_size = size_of(id.in);
  const int64_t out_item = size_of(id.out);
  const ReduceTile tile = reduce_tile(static_cast<ReduceOp>(id.op), id.in);

  // The order of the reduced elements does not matter. They are walked in memory order, and so are
  // the outputs if the inner loop is not along a reduced dimension.
  const Dims reduced = reduced_dims(p).by_stride();
  Dims kept = kept_dims(p);
  if (reduced.inner_stride() != 1) {
    kept = kept.by_stride();
  }

  // accumulators op= positions [begin, end) of the reduced range, for `count` outputs.
  const auto add =
      [&](const char* from, int64_t count, int64_t begin, int64_t end, void* accumulators) {
        for_each_run(
            reduced, begin, end, end - begin, [&](int64_t, int64_t n, int64_t offset, int64_t) {
              tile.add(
                  from + offset * in_size,
                  count,
                  kept.inner_stride(),
                  n,
                  reduced.inner_stride(),
                  accumulators);
            });
      };

  const Split split = split_of(kept, p.out_size, p.reduce_size);
  if (split.pieces == 1) {
    parallel_for(p.out_size, split.grain, [&](int64_t begin, int64_t end) {
      alignas(64) char accumulators[kReduceTile * kMaxAccumulatorSize];
      for_each_run(
          kept,
          begin,
          end,
          kReduceTile,
          [&](int64_t, int64_t count, int64_t in_offset, int64_t out_offset) {
            tile.begin(accumulators, count);
            add(in + in_offset * in_size, count, 0, p.reduce_size, accumulators);
            tile.finish(
                accumulators, count, out + out_offset * out_item, kept.out_strides[kept.ndim - 1]);
          });
    });
    return;
  }

  const int64_t row = p.out_size * tile.accumulator_size;
  SmallScratch small;
  auto* const partial = reinterpret_cast<char*>(small.unless(scratch));
  parallel_for(split.pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      char* accumulators = partial + piece * row;
      tile.begin(accumulators, p.out_size);
      for_each_run(
          kept,
          0,
          p.out_size,
          kReduceTile,
          [&](int64_t position, int64_t count, int64_t in_offset, int64_t) {
            add(in + in_offset * in_size,
                count,
                piece_begin(p.reduce_size, piece, split.pieces),
                piece_begin(p.reduce_size, piece + 1, split.pieces),
                accumulators + position * tile.accumulator_size);
          });
    }
  });
  for (int64_t piece = 1; piece < split.pieces; ++piece) {
    tile.merge(partial + piece * row, p.out_size, partial);
  }
  for_each_run(
      kept,
      0,
      p.out_size,
      kReduceTile,
      [&](int64_t position, int64_t count, int64_t, int64_t out_offset) {
        tile.finish(
            partial + position * tile.accumulator_size,
            count,
            out + out_offset * out_item,
            kept.out_strides[kept.ndim - 1]);
      });
}

// Partial results of an arg_reduce: first the indices, then the keys.
int64_t keys_offset(int64_t partial_results) {
  return (partial_results * int64_t{sizeof(uint32_t)} + 63) / 64 * 64;
}

void run_arg_reduce(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const ReduceParams*>(params);
  const auto* in = static_cast<const char*>(operands[0]);
  auto* out = static_cast<uint32_t*>(operands[1]);
  const int64_t in_size = size_of(id.in);
  const ArgReduceTile tile = arg_reduce_tile(static_cast<ArgReduceOp>(id.op), id.in);

  // Reduced elements are numbered in the order of their dimensions, so these are not reordered.
  const Dims reduced = reduced_dims(p);
  Dims kept = kept_dims(p);
  if (reduced.inner_stride() != 1) {
    kept = kept.by_stride();
  }

  const auto search = [&](const char* from,
                          int64_t count,
                          int64_t begin,
                          int64_t end,
                          void* keys,
                          uint32_t* indices) {
    bool started = false;
    for_each_run(
        reduced,
        begin,
        end,
        end - begin,
        [&](int64_t position, int64_t n, int64_t offset, int64_t) {
          const char* run = from + offset * in_size;
          const auto index = static_cast<uint32_t>(position);
          if (!started) {
            tile.begin(run, count, kept.inner_stride(), index, keys, indices);
            started = true;
          }
          tile.add(
              run, count, kept.inner_stride(), n, reduced.inner_stride(), index, keys, indices);
        });
  };
  const auto write = [&](const uint32_t* indices, int64_t count, int64_t out_offset) {
    const int64_t stride = kept.out_strides[kept.ndim - 1];
    for (int64_t i = 0; i < count; ++i) {
      out[out_offset + i * stride] = indices[i];
    }
  };

  const Split split = split_of(kept, p.out_size, p.reduce_size);
  if (split.pieces == 1) {
    parallel_for(p.out_size, split.grain, [&](int64_t begin, int64_t end) {
      alignas(64) char keys[kReduceTile * sizeof(int64_t)];
      alignas(64) uint32_t indices[kReduceTile];
      for_each_run(
          kept,
          begin,
          end,
          kReduceTile,
          [&](int64_t, int64_t count, int64_t in_offset, int64_t out_offset) {
            search(in + in_offset * in_size, count, 0, p.reduce_size, keys, indices);
            write(indices, count, out_offset);
          });
    });
    return;
  }

  const int64_t row = p.out_size;
  SmallScratch small;
  std::byte* const memory = small.unless(scratch);
  auto* const partial = reinterpret_cast<uint32_t*>(memory);
  auto* const partial_keys = reinterpret_cast<char*>(memory + keys_offset(split.pieces * row));
  parallel_for(split.pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      for_each_run(
          kept,
          0,
          p.out_size,
          kReduceTile,
          [&](int64_t position, int64_t count, int64_t in_offset, int64_t) {
            search(
                in + in_offset * in_size,
                count,
                piece_begin(p.reduce_size, piece, split.pieces),
                piece_begin(p.reduce_size, piece + 1, split.pieces),
                partial_keys + (piece * row + position) * tile.key_size,
                partial + piece * row + position);
          });
    }
  });
  for (int64_t piece = 1; piece < split.pieces; ++piece) {
    tile.merge(
        partial_keys + piece * row * tile.key_size,
        partial + piece * row,
        row,
        partial_keys,
        partial);
  }
  for_each_run(
      kept,
      0,
      p.out_size,
      kReduceTile,
      [&](int64_t position, int64_t count, int64_t, int64_t out_offset) {
        write(partial + position, count, out_offset);
      });
}

// The number of partial results of a call; 0 if each result is computed at once.
int64_t partial_results(std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const ReduceParams*>(params.data());
  const int64_t pieces = reduce_pieces(p.out_size, p.reduce_size);
  return pieces > 1 ? pieces * p.out_size : 0;
}

int64_t reduce_scratch(const KernelId& id, std::span<const std::byte> params) {
  const int64_t results = partial_results(params);
  return results == 0
             ? 0
             : planned_scratch(
                   results * reduce_tile(static_cast<ReduceOp>(id.op), id.in).accumulator_size);
}

int64_t arg_reduce_scratch(const KernelId& id, std::span<const std::byte> params) {
  const int64_t results = partial_results(params);
  return results == 0
             ? 0
             : planned_scratch(
                   keys_offset(results) +
                   results * arg_reduce_tile(static_cast<ArgReduceOp>(id.op), id.in).key_size);
}

} // namespace

const Row reduce_row = {run_reduce, nullptr, reduce_scratch};
const Row arg_reduce_row = {run_arg_reduce, nullptr, arg_reduce_scratch};

} // namespace narrows::cpu
