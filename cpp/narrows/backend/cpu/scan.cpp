#include <algorithm>

#include "metal_kernels/scan.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

ScanTile scan_tile(ScanOp op, Dtype in, Dtype out) {
  return NARROWS_AT_BEST_ISA(scan_tile(op, in, out));
}

namespace {

// The least number of elements for a thread.
constexpr int64_t kThreadElements = 1 << 14;
// The least number of elements for which a scan uses several threads, which read the input twice.
constexpr int64_t kLongScan = 1 << 18;
// The most elements of one thread's piece of a long scan. Such a piece is still partly in a cache
// when it is read again, and threads do not wait for each other often.
constexpr int64_t kPieceElements = 1 << 22;
// Strips of a row that are narrower than this waste cache lines and prefetching.
constexpr int64_t kStripColumns = 64;

// How a scan is cut into strips of columns. A strip has the whole length.
struct Split {
  int64_t strip; // columns of a strip
  int64_t strips;
  bool in_pieces; // several threads share a strip
};

Split split_of(const ScanParams& p) {
  const int64_t threads = thread_count();
  const int64_t wanted = std::max<int64_t>(1, threads / p.outer);
  const int64_t strip = std::clamp(
      p.inner / wanted, std::min(kStripColumns, p.inner), std::min(kScanColumns, p.inner));
  const int64_t strips = divided_up(p.inner, strip);
  const bool in_pieces = threads > 1 && p.outer * strips < threads && p.length * strip >= kLongScan;
  return {strip, strips, in_pieces};
}

struct Launch {
  ScanTile tile;
  const char* in;
  char* out;
  int64_t in_size;
  int64_t out_size;
  ScanParams params;

  // Columns [column, column + columns) of `outer`, the whole length.
  void run_strip(int64_t outer, int64_t column, int64_t columns) const {
    alignas(64) char carries[kScanColumns * kMaxCarrySize];
    tile.begin(carries, columns);
    scan(outer, column, columns, 0, params.length, carries);
  }

  // Continues with `length` elements from the scan's element `begin`. In a reverse scan it is
  // counted from the end.
  void scan(
      int64_t outer, int64_t column, int64_t columns, int64_t begin, int64_t length, char* carries)
      const {
    const int64_t offset = offset_of(outer, column, begin, length);
    tile.scan(
        in + offset * in_size,
        length,
        columns,
        params.inner,
        params.reverse != 0,
        params.inclusive != 0,
        carries,
        out + offset * out_size);
  }

  int64_t offset_of(int64_t outer, int64_t column, int64_t begin, int64_t length) const {
    const int64_t first = params.reverse != 0 ? params.length - begin - length : begin;
    return (outer * params.length + first) * params.inner + column;
  }

  // The same in pieces of the length: each of several threads finds the total of a piece and then,
  // knowing what comes before, scans it. `carries` has room for one carry of each thread and one
  // more.
  void run_strip_in_pieces(int64_t outer, int64_t column, int64_t columns, char* carries) const {
    const int threads = thread_count();
    const int64_t piece = std::clamp<int64_t>(
        divided_up(params.length, threads), 1, std::max<int64_t>(1, kPieceElements / columns));
    const int64_t row = columns * tile.carry_size;
    tile.begin(carries, columns);
    for (int64_t begin = 0; begin < params.length; begin += threads * piece) {
      const int64_t pieces = std::min<int64_t>(threads, divided_up(params.length - begin, piece));
      const auto length_of = [&](int64_t k) {
        return std::min(piece, params.length - begin - k * piece);
      };
      // carries[k] becomes the total of everything before piece k. The total of the last piece is
      // not needed, because its scan leaves the carry for the next round.
      parallel_for(pieces - 1, 1, [&](int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) {
          char* total = carries + (k + 1) * row;
          tile.begin(total, columns);
          const int64_t length = length_of(k);
          const int64_t offset = offset_of(outer, column, begin + k * piece, length);
          tile.add(in + offset * in_size, length, columns, params.inner, total);
        }
      });
      for (int64_t k = 1; k < pieces; ++k) {
        merge_before(carries + (k - 1) * row, columns, carries + k * row);
      }
      parallel_for(pieces, 1, [&](int64_t first, int64_t last) {
        for (int64_t k = first; k < last; ++k) {
          scan(outer, column, columns, begin + k * piece, length_of(k), carries + k * row);
        }
      });
      std::copy_n(carries + (pieces - 1) * row, row, carries);
    }
  }

  // The operations commute, so it does not matter on which side the earlier elements are.
  void merge_before(const char* earlier, int64_t columns, char* later) const {
    tile.merge(earlier, columns, later);
  }
};

bool is_empty(const ScanParams& p) {
  return p.outer == 0 || p.length == 0 || p.inner == 0;
}

void run_scan(const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const ScanParams*>(params);
  if (is_empty(p)) {
    return;
  }
  const Launch launch{
      scan_tile(static_cast<ScanOp>(id.op), id.in, id.out),
      static_cast<const char*>(operands[0]),
      static_cast<char*>(operands[1]),
      size_of(id.in),
      size_of(id.out),
      p};

  const Split split = split_of(p);
  const auto run = [&](int64_t unit, auto&& run_one) {
    const int64_t column = unit % split.strips * split.strip;
    run_one(unit / split.strips, column, std::min(split.strip, p.inner - column));
  };
  const int64_t units = p.outer * split.strips;
  if (split.in_pieces) {
    SmallScratch small;
    char* carries = reinterpret_cast<char*>(small.unless(scratch));
    for (int64_t unit = 0; unit < units; ++unit) {
      run(unit, [&](int64_t outer, int64_t column, int64_t columns) {
        launch.run_strip_in_pieces(outer, column, columns, carries);
      });
    }
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kThreadElements / (p.length * split.strip));
  parallel_for(units, grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      run(unit, [&](int64_t outer, int64_t column, int64_t columns) {
        launch.run_strip(outer, column, columns);
      });
    }
  });
}

int64_t scan_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const ScanParams*>(params.data());
  if (is_empty(p)) {
    return 0;
  }
  const Split split = split_of(p);
  const int64_t carry = scan_tile(static_cast<ScanOp>(id.op), id.in, id.out).carry_size;
  return split.in_pieces ? planned_scratch((thread_count() + 1) * split.strip * carry) : 0;
}

} // namespace

const Row scan_row = {run_scan, nullptr, scan_scratch};

} // namespace narrows::cpu
