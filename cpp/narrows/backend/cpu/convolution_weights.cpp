#include "narrows/backend/cpu/convolution_tiles.h"
#include "narrows/backend/cpu/gemm_libraries.h"

namespace narrows::cpu::tiles {
namespace {

// Sums into the weights: (y_channels, taps, channels of a group of x), over all places of y.
class WeightSums {
 public:
  WeightSums(const ConvolutionCall& call, void* scratch)
      : s_(call), rules_(call.params, true), threads_(thread_count()), scratch_(scratch) {
  }

  int64_t scratch_bytes() const {
    int64_t most = 0;
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      const PlaceRows rows = rows_of(i);
      ScratchPieces memory(nullptr);
      memory.take(partial_bytes(rows));
      const Tiling tiling = tiling_of(rows);
      for (int64_t part = 0; part < threads_; ++part) {
        take_tiles(rows, tiling, memory);
      }
      most = std::max(most, memory.used());
    }
    return most;
  }

  void run(const std::byte* x, const std::byte* y, std::byte* out) const {
    if (rules_.classes() != 1 || !rows_of(0).are_all_taps(s_.p.w_size)) {
      const int64_t bytes = s_.p.y_channels * s_.filter * s_.x_group * s_.item;
      std::memset(out, 0, static_cast<size_t>(bytes));
    }
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      run_class(rows_of(i), x, y, out);
    }
  }

 private:
  PlaceRows rows_of(int64_t index) const {
    return PlaceRows(
        rules_.place_classes(index), s_.p.batch, s_.p.x_channels, s_.p.groups, s_.item);
  }
  Tiling tiling_of(const PlaceRows& rows) const {
    return Tiling(rows.rows(), rows.columns(), threads_);
  }

  // The number of pieces that the rows are summed in. If partial sums are small, each thread has
  // its own piece.
  int64_t row_parts(const PlaceRows& rows) const {
    const int64_t bytes = std::max<int64_t>(1, s_.p.y_channels * rows.columns() * s_.wide_item);
    const int64_t most = std::min(rows.rows() / kLeastRows, kMostPartialSums / bytes);
    return std::clamp<int64_t>(most, 1, threads_);
  }
  bool writes_out(const PlaceRows& rows) const {
    return !s_.is_narrow() && row_parts(rows) == 1 && rows.are_all_taps(s_.p.w_size);
  }
  int64_t partial_bytes(const PlaceRows& rows) const {
    return writes_out(rows) ? 0 : row_parts(rows) * s_.p.y_channels * rows.columns() * s_.wide_item;
  }
  // Whether the rows of y can be multiplied as they lie.
  bool takes_rows(const PlaceRows& rows) const {
    return !s_.is_narrow() && rows.are_all_places(s_.p.y_size);
  }
  struct Tiles {
    TileReader reader;
    std::byte* y_rows;
  };
  Tiles take_tiles(const PlaceRows& rows, const Tiling& tiling, ScratchPieces& memory) const {
    TileReader reader(s_, rows, tiling.elements(), memory);
    const int64_t bytes = takes_rows(rows) ? 0 : tiling.rows * s_.y_group * s_.wide_item;
    return {reader, memory.take(bytes)};
  }

  void run_class(
      const PlaceRows& rows, const std::byte* x, const std::byte* y, std::byte* out) const {
    ScratchPieces memory(scratch_);
    const int64_t row_parts = this->row_parts(rows);
    std::byte* partial = memory.take(partial_bytes(rows));
    std::byte* sums = writes_out(rows) ? out : partial;
    const Tiling tiling = tiling_of(rows);
    const int64_t per_part = s_.p.groups * tiling.column_blocks;
    const int64_t tasks = row_parts * per_part;
    const int64_t parts = std::min<int64_t>(threads_, tasks);
    ScratchPieces counted(nullptr);
    take_tiles(rows, tiling, counted);
    std::byte* tiles = memory.take(parts * counted.used());
    run_tasks(tasks, parts, [&](int64_t task, int64_t part) {
      ScratchPieces own(tiles + part * counted.used());
      const Tiles mine = take_tiles(rows, tiling, own);
      const int64_t row_part = task / per_part;
      const int64_t group = task % per_part / tiling.column_blocks;
      const int64_t column = task % tiling.column_blocks * tiling.columns;
      const int64_t first = rows.rows() * row_part / row_parts;
      const int64_t end = rows.rows() * (row_part + 1) / row_parts;
      std::byte* to = sums + row_part * s_.p.y_channels * rows.columns() * s_.wide_item;
      sum_block(rows, tiling, mine, x, y, to, first, end, group, column);
    });
    if (!writes_out(rows)) {
      finish(rows, row_parts, partial, out);
    }
  }

  // A block of columns of a group, over rows [first, end).
  void sum_block(
      const PlaceRows& rows,
      const Tiling& tiling,
      const Tiles& tiles,
      const std::byte* x,
      const std::byte* y,
      std::byte* sums,
      int64_t first,
      int64_t end,
      int64_t group,
      int64_t column) const {
    const int64_t columns = rows.columns();
    const int64_t width = std::min(tiling.columns, columns - column);
    sums += (group * s_.y_group * columns + column) * s_.wide_item;
    for (int64_t row = first; row < end; row += tiling.rows) {
      const int64_t count = std::min(tiling.rows, end - row);
      const TileReader::Tile tile =
          tiles.reader.read(x, s_.p.x_channels, group, row, count, column, width);
      const TileReader::Tile g = y_rows(rows, tiles, y, group, row, count);
      const GemmShape shape{s_.y_group, width, count, true, false, g.ld, tile.ld, columns};
      openblas::multiply(s_.wide, shape, 1, g.data, tile.data, row == first ? 0.0f : 1.0f, sums);
    }
  }

  TileReader::Tile y_rows(
      const PlaceRows& rows,
      const Tiles& tiles,
      const std::byte* y,
      int64_t group,
      int64_t first,
      int64_t count) const {
    const std::byte* from = y + group * s_.y_group * s_.item;
    const int64_t bytes = s_.p.y_channels * s_.item;
    if (takes_rows(rows)) {
      return {from + first * bytes, s_.p.y_channels};
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t place = rows.place(first + i, s_.p.y_size);
      s_.widen(from + place * bytes, tiles.y_rows + i * s_.y_group * s_.wide_item, s_.y_group);
    }
    return {tiles.y_rows, s_.y_group};
  }

  // Adds the pieces in a fixed order, and puts each tap in its place.
  void finish(const PlaceRows& rows, int64_t pieces, std::byte* partial, std::byte* out) const {
    const int64_t size = s_.p.y_channels * rows.columns();
    const auto add = [&](auto* sums) {
      parallel_for(size, kCopyGrain, [&](int64_t begin, int64_t end) {
        for (int64_t piece = 1; piece < pieces; ++piece) {
          for (int64_t i = begin; i < end; ++i) {
            sums[i] += sums[piece * size + i];
          }
        }
      });
    };
    s_.wide == Dtype::float64 ? add(reinterpret_cast<double*>(partial))
                              : add(reinterpret_cast<float*>(partial));
    const int64_t run = s_.x_group;
    const int64_t taps = rows.taps();
    parallel_for(s_.p.y_channels, kCopyGrain / (taps * run) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t to = o * s_.filter + rows.filter_element(tap, s_.p.w_size);
          const int64_t from = o * taps + tap;
          s_.store(partial + from * run * s_.wide_item, out + to * run * s_.item, run);
        }
      }
    });
  }

  Setting s_;
  PlaceRules rules_;
  int64_t threads_;
  void* scratch_;
};

} // namespace

int64_t weight_sums_scratch(const ConvolutionCall& call) {
  return WeightSums(call, nullptr).scratch_bytes();
}

void weight_sums(
    const ConvolutionCall& call,
    const std::byte* x,
    const std::byte* y,
    std::byte* out,
    void* scratch) {
  WeightSums(call, scratch).run(x, y, out);
}

} // namespace narrows::cpu::tiles
