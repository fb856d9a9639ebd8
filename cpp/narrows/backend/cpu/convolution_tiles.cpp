#include "narrows/backend/cpu/convolution_tiles.h"

#include "narrows/backend/cpu/gemm_libraries.h"

namespace narrows::cpu {
namespace tiles {
namespace {

// Sums into places: forward into those of y, backward into those of x.
class PlaceSums {
 public:
  PlaceSums(const ConvolutionCall& call, void* scratch)
      : s_(call),
        forward_(call.op == ConvolutionOp::forward),
        rules_(call.params, forward_),
        source_channels_(forward_ ? s_.p.x_channels : s_.p.y_channels),
        source_group_(source_channels_ / s_.p.groups),
        out_channels_(forward_ ? s_.p.y_channels : s_.p.x_channels),
        out_group_(out_channels_ / s_.p.groups),
        out_size_(forward_ ? s_.p.y_size : s_.p.x_size),
        threads_(thread_count()),
        scratch_(scratch) {
  }

  int64_t scratch_bytes() const {
    int64_t most = 0;
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      const PlaceRows rows = rows_of(i);
      ScratchPieces memory(nullptr);
      memory.take(packed_bytes(rows));
      const Tiling tiling(rows.rows(), rows.columns(), threads_);
      for (int64_t part = 0; part < threads_; ++part) {
        take_tiles(rows, tiling, memory);
      }
      most = std::max(most, memory.used());
    }
    return most;
  }

  void run(const std::byte* source, const std::byte* weights, std::byte* out) const {
    if (!rules_.reach_all()) {
      s_.clear_places(out_size_, out_channels_, out);
    }
    for (int64_t i = 0; i < rules_.classes(); ++i) {
      run_class(rows_of(i), source, weights, out);
    }
  }

 private:
  PlaceRows rows_of(int64_t index) const {
    return PlaceRows(
        rules_.place_classes(index), s_.p.batch, source_channels_, s_.p.groups, s_.item);
  }

  // Whether the weights can be multiplied as they lie: (out, columns) forward, (columns, out)
  // backward.
  bool takes_weights(const PlaceRows& rows) const {
    return !s_.is_narrow() && (forward_ ? rows.are_all_taps(s_.p.w_size) : s_.filter == 1);
  }
  int64_t packed_bytes(const PlaceRows& rows) const {
    return takes_weights(rows) ? 0 : out_channels_ * rows.columns() * s_.wide_item;
  }
  bool writes_out(const PlaceRows& rows) const {
    return !s_.is_narrow() && rows.are_all_places(out_size_);
  }
  struct Tiles {
    TileReader reader;
    std::byte* sums;
  };
  Tiles take_tiles(const PlaceRows& rows, const Tiling& tiling, ScratchPieces& memory) const {
    TileReader reader(s_, rows, tiling.elements(), memory);
    const int64_t sums = writes_out(rows) ? 0 : tiling.rows * out_group_ * s_.wide_item;
    return {reader, memory.take(sums)};
  }

  // The weights of the class's taps, group by group. Forward: a row for each output channel.
  // Backward: a row for each column of the tiles.
  void pack(const PlaceRows& rows, const std::byte* weights, std::byte* to) const {
    const int64_t taps = rows.taps();
    const int64_t run = s_.x_group; // of one output channel and one element of the filter
    parallel_for(s_.p.y_channels, kCopyGrain / (taps * run) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t from = o * s_.filter + rows.filter_element(tap, s_.p.w_size);
          const int64_t row = forward_
                                  ? o * taps + tap
                                  : (o / s_.y_group * taps + tap) * s_.y_group + o % s_.y_group;
          s_.widen(weights + from * run * s_.item, to + row * run * s_.wide_item, run);
        }
      }
    });
  }

  void run_class(
      const PlaceRows& rows,
      const std::byte* source,
      const std::byte* weights,
      std::byte* out) const {
    ScratchPieces memory(scratch_);
    std::byte* packed = memory.take(packed_bytes(rows));
    if (!takes_weights(rows)) {
      pack(rows, weights, packed);
      weights = packed;
    }
    const Tiling tiling(rows.rows(), rows.columns(), threads_);
    const int64_t blocks = divided_up(rows.rows(), tiling.rows);
    const int64_t tasks = blocks * s_.p.groups;
    const int64_t parts = std::min<int64_t>(threads_, tasks);
    ScratchPieces counted(nullptr);
    take_tiles(rows, tiling, counted);
    std::byte* tiles = memory.take(parts * counted.used());
    run_tasks(tasks, parts, [&](int64_t task, int64_t part) {
      ScratchPieces own(tiles + part * counted.used());
      const Tiles mine = take_tiles(rows, tiling, own);
      const int64_t first = task / s_.p.groups * tiling.rows;
      const int64_t count = std::min(tiling.rows, rows.rows() - first);
      const int64_t group = task % s_.p.groups;
      sum_tile(rows, tiling, mine, source, weights, out, first, count, group);
    });
  }

  // Rows [first, first + count) of a group.
  void sum_tile(
      const PlaceRows& rows,
      const Tiling& tiling,
      const Tiles& tiles,
      const std::byte* source,
      const std::byte* weights,
      std::byte* out,
      int64_t first,
      int64_t count,
      int64_t group) const {
    const bool direct = writes_out(rows);
    std::byte* sums =
        direct ? out + (first * out_channels_ + group * out_group_) * s_.item : tiles.sums;
    const int64_t sums_ld = direct ? out_channels_ : out_group_;
    const int64_t columns = rows.columns();
    const std::byte* b = weights + group * out_group_ * columns * s_.wide_item;
    for (int64_t column = 0; column < columns; column += tiling.columns) {
      const int64_t width = std::min(tiling.columns, columns - column);
      const TileReader::Tile tile =
          tiles.reader.read(source, source_channels_, group, first, count, column, width);
      const int64_t b_ld = forward_ ? columns : out_group_;
      const GemmShape shape{count, out_group_, width, false, forward_, tile.ld, b_ld, sums_ld};
      const int64_t b_start = forward_ ? column : column * out_group_;
      openblas::multiply(
          s_.wide,
          shape,
          1,
          tile.data,
          b + b_start * s_.wide_item,
          column == 0 ? 0.0f : 1.0f,
          sums);
    }
    for (int64_t i = 0; !direct && i < count; ++i) {
      const int64_t place = rows.place(first + i, out_size_);
      s_.store(
          sums + i * out_group_ * s_.wide_item,
          out + (place * out_channels_ + group * out_group_) * s_.item,
          out_group_);
    }
  }

  // Sets these places to zero: no element reaches them.
  Setting s_;
  bool forward_;
  PlaceRules rules_;
  int64_t source_channels_;
  int64_t source_group_;
  int64_t out_channels_;
  int64_t out_group_;
  const int64_t* out_size_;
  int64_t threads_;
  void* scratch_;
};

} // namespace

int64_t place_sums_scratch(const ConvolutionCall& call) {
  return PlaceSums(call, nullptr).scratch_bytes();
}

void place_sums(
    const ConvolutionCall& call,
    const std::byte* a,
    const std::byte* b,
    std::byte* out,
    void* scratch) {
  PlaceSums(call, scratch).run(a, b, out);
}

} // namespace tiles

int64_t tiled_convolution_scratch(const ConvolutionCall& call) {
  return tiles::has_few_channels(call)               ? tiles::few_channels_scratch(call)
         : call.op == ConvolutionOp::weight_gradient ? tiles::weight_sums_scratch(call)
                                                     : tiles::place_sums_scratch(call);
}

void tiled_convolution(
    const ConvolutionCall& call, const void* a, const void* b, void* out, void* scratch) {
  const auto* first = static_cast<const std::byte*>(a);
  const auto* second = static_cast<const std::byte*>(b);
  auto* to = static_cast<std::byte*>(out);
  if (tiles::has_few_channels(call)) {
    tiles::few_channels(call, first, second, to, scratch);
  } else if (call.op == ConvolutionOp::weight_gradient) {
    tiles::weight_sums(call, first, second, to, scratch);
  } else {
    tiles::place_sums(call, first, second, to, scratch);
  }
}

} // namespace narrows::cpu
