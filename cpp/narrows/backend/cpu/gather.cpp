// gather: reads elements, or rows of elements, at indices.
#include <algorithm>
#include <cstring>

#include "metal_kernels/indexed.h"
#include "narrows/backend/cpu/index_offsets.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The least number of bytes for a thread.
constexpr int64_t kThreadBytes = 1 << 16;
// Rows of at least so many bytes are shared by several threads if there are too few rows for all
// threads.
constexpr int64_t kLongRow = 1 << 19;
// Rows are prefetched so many positions ahead, up to so many bytes of each. Processors prefetch the
// rest of a row by themselves.
constexpr int64_t kFetchAhead = 4;
constexpr int64_t kFetchBytes = 256;
constexpr int64_t kCacheLine = 64;

struct Gather {
  IndexedParams p; // with positions only: contiguous columns form a row of `row_bytes`
  Indices indices;
  const char* in;
  char* out;
  int64_t item_size;
  int64_t row_bytes;

  // The number of positions.
  int64_t positions() const {
    int64_t count = 1;
    for (int d = 0; d < p.ndim; ++d) {
      count *= p.shape[d];
    }
    return count;
  }

  // Positions [begin, end) in row-major order.
  void run(int64_t begin, int64_t end, bool alone) const {
    const int run_dim = p.ndim - 1;
    int64_t offsets[kOffsetsAtOnce];
    for (int64_t position = begin; position < end;) {
      int64_t in_offset = 0;
      int64_t out_offset = 0;
      IndexPlace place{};
      int64_t rest = position;
      for (int d = run_dim; d >= 0; --d) {
        const int64_t i = rest % p.shape[d];
        rest /= p.shape[d];
        in_offset += i * p.array_strides[d];
        out_offset += i * p.other_strides[d];
        for (int k = 0; k < p.indices; ++k) {
          place[k] += i * p.index_strides[k][d];
        }
      }
      const int64_t left = p.shape[run_dim] - position % p.shape[run_dim];
      const int64_t count = std::min({left, end - position, kOffsetsAtOnce});
      const bool all = find_offsets(p, indices, run_dim, in_offset, place, count, offsets);
      copy_rows(offsets, count, all, out + out_offset * item_size, alone);
      position += count;
    }
  }

 private:
  // `all`: no position is skipped.
  void copy_rows(const int64_t* offsets, int64_t count, bool all, char* to, bool alone) const {
    switch (row_bytes) {
      case 1:
        return copy_rows_of<1>(offsets, count, all, to);
      case 2:
        return copy_rows_of<2>(offsets, count, all, to);
      case 4:
        return copy_rows_of<4>(offsets, count, all, to);
      case 8:
        return copy_rows_of<8>(offsets, count, all, to);
      case 16:
        return copy_rows_of<16>(offsets, count, all, to);
      case 32:
        return copy_rows_of<32>(offsets, count, all, to);
      case 64:
        return copy_rows_of<64>(offsets, count, all, to);
      default:
        return copy_long_rows(offsets, count, to, alone);
    }
  }

  // Loops over elements of a known size.
  template <int kBytes>
  void copy_rows_of(const int64_t* offsets, int64_t count, bool all, char* to) const {
    const int64_t step = p.other_strides[p.ndim - 1] * item_size;
    if (all && item_size == kBytes && step == kBytes) {
      for (int64_t j = 0; j < count; ++j) {
        std::memcpy(to + j * kBytes, in + offsets[j] * kBytes, kBytes);
      }
      return;
    }
    for (int64_t j = 0; j < count; ++j) {
      if (offsets[j] == kSkipped) {
        std::memset(to + j * step, 0, kBytes);
      } else {
        std::memcpy(to + j * step, in + offsets[j] * item_size, kBytes);
      }
    }
  }

  void copy_long_rows(const int64_t* offsets, int64_t count, char* to, bool alone) const {
    const int64_t step = p.other_strides[p.ndim - 1] * item_size;
    for (int64_t j = 0; j < count; ++j) {
      if (j + kFetchAhead < count && offsets[j + kFetchAhead] != kSkipped) {
        const char* next = in + offsets[j + kFetchAhead] * item_size;
        for (int64_t byte = 0; byte < std::min(row_bytes, kFetchBytes); byte += kCacheLine) {
          __builtin_prefetch(next + byte);
        }
      }
      if (offsets[j] == kSkipped) {
        std::memset(to + j * step, 0, static_cast<size_t>(row_bytes));
      } else if (alone) {
        copy_bytes(in + offsets[j] * item_size, to + j * step, row_bytes);
      } else {
        std::memcpy(to + j * step, in + offsets[j] * item_size, static_cast<size_t>(row_bytes));
      }
    }
  }
};

bool is_index_free(const IndexedParams& p, int d) {
  for (int k = 0; k < p.indices; ++k) {
    if (p.index_strides[k][d] != 0) {
      return false;
    }
  }
  return true;
}

// Removes the last dimension if it is contiguous, as the row.
void split_row(Gather& gather) {
  IndexedParams& p = gather.p;
  const int last = p.ndim - 1;
  gather.row_bytes = gather.item_size;
  if (last >= 0 && p.array_strides[last] == 1 && p.other_strides[last] == 1 &&
      is_index_free(p, last)) {
    gather.row_bytes *= p.shape[last];
    p.ndim = last;
  }
  if (p.ndim == 0) {
    p.ndim = 1;
    p.shape[0] = 1;
    p.array_strides[0] = p.other_strides[0] = 0;
    for (int k = 0; k < p.indices; ++k) {
      p.index_strides[k][0] = 0;
    }
  }
}

void run_gather(const KernelId& id, void* const* operands, const void* params, void*) {
  Gather gather{};
  gather.p = *static_cast<const IndexedParams*>(params);
  gather.indices.dtype = id.index;
  std::copy_n(operands + 1, gather.p.indices, gather.indices.data.begin());
  gather.in = static_cast<const char*>(operands[0]);
  gather.out = static_cast<char*>(operands[1 + gather.p.indices]);
  gather.item_size = size_of(id.in);
  split_row(gather);
  const int64_t positions = gather.positions();
  if (positions < thread_count() && gather.row_bytes >= kLongRow) {
    gather.run(0, positions, true);
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kThreadBytes / gather.row_bytes);
  parallel_for(
      positions, grain, [&](int64_t begin, int64_t end) { gather.run(begin, end, false); });
}

bool has_index_dtype(const KernelId& id) {
  return id.index == int32 || id.index == uint32 || id.index == int64;
}

} // namespace

const Row gather_row = {run_gather, has_index_dtype};

} // namespace narrows::cpu
