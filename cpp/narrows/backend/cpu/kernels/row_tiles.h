// The inner loops of softmax, scans and random bits, found by type and instruction set.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"
#include "narrows/core/kernel_id.h"

namespace narrows {
enum class ScanOp : uint8_t;
} // namespace narrows

namespace narrows::cpu {

// What softmax and logsumexp need to know of a row: its maximum (NaN if it has one) and the sum
// of exp(x - maximum).
struct RowSummary {
  double maximum;
  double sum;
};

struct SoftmaxTile {
  // Contiguous rows of any length; out may be in.
  void (*rows)(const void* in, int64_t rows, int64_t length, void* out);
  RowSummary (*summary)(const void* in, int64_t length);
  // out[i] = exp(in[i] - maximum) / sum
  void (*normalize)(const void* in, int64_t length, RowSummary summary, void* out);
};

// Columns that one call of a scan covers: their carries fit on a thread's stack.
inline constexpr int64_t kScanColumns = 1024;
inline constexpr int64_t kMaxCarrySize = 16;

// Scans go on from carries, one per column, and leave them behind.
struct ScanTile {
  int64_t carry_size;
  void (*begin)(void* carries, int64_t columns);
  // carries[j] op= all elements of column j
  void (*add)(const void* in, int64_t length, int64_t columns, int64_t stride, void* carries);
  // carries[j] op= from[j]
  void (*merge)(const void* from, int64_t columns, void* carries);
  // Column j's element i is at in[i * stride + j]; columns == stride == 1 is one contiguous row.
  void (*scan)(
      const void* in,
      int64_t length,
      int64_t columns,
      int64_t stride,
      bool reverse,
      bool inclusive,
      void* carries,
      void* out);
};

// The two words of the threefry2x32-20 block of counter (first + i, first + i + distance) go to
// word i of low and of high, which need not be aligned.
using ThreefryWords = void (*)(
    uint32_t key0,
    uint32_t key1,
    uint32_t first,
    uint32_t distance,
    int64_t n,
    void* low,
    void* high);

// For this process's instruction set.
SoftmaxTile softmax_tile(Dtype dtype); // not complex64
ScanTile scan_tile(ScanOp op, Dtype in, Dtype out);
ThreefryWords threefry_words();

#define NARROWS_DECLARE_TILES(isa)                    \
  namespace isa {                                     \
  SoftmaxTile softmax_tile(Dtype dtype);              \
  ScanTile scan_tile(ScanOp op, Dtype in, Dtype out); \
  ThreefryWords threefry_words();                     \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_TILES)
#undef NARROWS_DECLARE_TILES

} // namespace narrows::cpu
