// What the convolutions without oneDNN share: the sizes and dtypes of a call, scratch in pieces,
// and tiles of what filters see.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "narrows/backend/cpu/convolution.h"
#include "narrows/backend/cpu/convolution_places.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"
#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu::tiles {

// The most elements and columns of a tile of what filters see, and bounds of its rows. Such a tile
// stays in a core's cache, and is high enough that packing the weights costs little.
inline constexpr int64_t kTileElements = int64_t{1} << 17;
inline constexpr int64_t kMostColumns = 1024;
inline constexpr int64_t kLeastRows = 64;
inline constexpr int64_t kMostRows = 512;
// The most bytes of partial sums of weights, one for each thread.
inline constexpr int64_t kMostPartialSums = int64_t{16} << 20;
inline constexpr int64_t kCopyGrain = 16 * 1024;

// The sizes and dtypes of a call. Arrays have the dtype `stored`, sums the dtype `wide`.
struct Setting {
  explicit Setting(const ConvolutionCall& call)
      : op(call.op),
        stored(call.dtype),
        wide(is_half(call.dtype) ? Dtype::float32 : call.dtype),
        item(size_of(stored)),
        wide_item(size_of(wide)),
        p(call.params),
        x_group(p.x_channels / p.groups),
        y_group(p.y_channels / p.groups),
        filter(p.w_size[0] * p.w_size[1] * p.w_size[2]) {
  }

  bool is_narrow() const {
    return stored != wide;
  }
  // Converts n elements from one dtype to the other.
  void widen(const std::byte* from, std::byte* to, int64_t n) const {
    convert(stored, wide, from, to, n);
  }
  void store(const std::byte* from, std::byte* to, int64_t n) const {
    convert(wide, stored, from, to, n);
  }
  // Clears an array that has a batch of places of these sizes.
  void clear_places(const int64_t* size, int64_t channels, std::byte* out) const {
    const int64_t places = p.batch * size[0] * size[1] * size[2];
    std::memset(out, 0, static_cast<size_t>(places * channels * item));
  }

  ConvolutionOp op;
  Dtype stored;
  Dtype wide;
  int64_t item;
  int64_t wide_item;
  const ConvolutionParams& p;
  int64_t x_group; // channels of a group
  int64_t y_group;
  int64_t filter; // elements of a filter

 private:
  static void convert(Dtype from, Dtype to, const std::byte* in, std::byte* out, int64_t n) {
    if (from == to) {
      std::memcpy(out, in, static_cast<size_t>(n * size_of(from)));
    } else {
      const void* const inputs[] = {in};
      tile_kernels().cast[static_cast<int>(from)][static_cast<int>(to)](inputs, out, n);
    }
  }
};

// How rows and columns are cut into tiles.
struct Tiling {
  Tiling(int64_t rows, int64_t columns, int64_t threads) {
    column_blocks = std::max<int64_t>(1, divided_up(columns, kMostColumns));
    this->columns = divided_up(columns, column_blocks);
    const int64_t fits = kTileElements / std::max<int64_t>(1, this->columns);
    this->rows = std::clamp(fits / 16 * 16, kLeastRows, kMostRows);
    this->rows = std::min(this->rows, std::max<int64_t>(1, divided_up(rows, threads)));
  }
  int64_t elements() const {
    return rows * columns;
  }

  int64_t rows;
  int64_t columns;
  int64_t column_blocks;
};

// Hands out a block of memory piece by piece. Without a block it counts the bytes.
class ScratchPieces {
 public:
  explicit ScratchPieces(void* begin) : begin_(static_cast<std::byte*>(begin)) {
  }
  std::byte* take(int64_t bytes) {
    std::byte* result = begin_ ? begin_ + used_ : nullptr;
    used_ += divided_up(bytes, 64) * 64;
    return result;
  }
  int64_t used() const {
    return used_;
  }

 private:
  std::byte* begin_;
  int64_t used_ = 0;
};

// Calls f(task, part) for each task; the tasks of a part run one after the other.
template <typename F>
void run_tasks(int64_t tasks, int64_t parts, F&& f) {
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      for (int64_t task = tasks * part / parts; task < tasks * (part + 1) / parts; ++task) {
        f(task, part);
      }
    }
  });
}

// What filters see, in tiles of the dtype that is multiplied.
class TileReader {
 public:
  TileReader(const Setting& setting, const PlaceRows& rows, int64_t elements, ScratchPieces& memory)
      : setting_(setting),
        rows_(rows),
        takes_source_(rows.are_source() && !setting.is_narrow()),
        tile_(memory.take(takes_source_ ? 0 : elements * setting.wide_item)),
        narrow_(setting.is_narrow() ? memory.take(elements * setting.item) : nullptr) {
  }

  struct Tile {
    const std::byte* data;
    int64_t ld;
  };
  // Rows [row, row + rows) and columns [column, column + columns) of a group.
  Tile read(
      const std::byte* source,
      int64_t channels,
      int64_t group,
      int64_t row,
      int64_t rows,
      int64_t column,
      int64_t columns) const {
    if (takes_source_) {
      const int64_t element = row * channels + group * rows_.columns() + column;
      return {source + element * setting_.item, channels};
    }
    std::byte* gathered = narrow_ ? narrow_ : tile_;
    rows_.gather(source, group, row, row + rows, column, column + columns, gathered);
    if (narrow_) {
      setting_.widen(narrow_, tile_, rows * columns);
    }
    return {tile_, columns};
  }

 private:
  const Setting& setting_;
  const PlaceRows& rows_;
  bool takes_source_; // tiles are rows of the source itself
  std::byte* tile_;
  std::byte* narrow_;
};

// The two halves of tiled_convolution(): sums into places, and sums into weights.
int64_t place_sums_scratch(const ConvolutionCall& call);
void place_sums(
    const ConvolutionCall& call,
    const std::byte* a,
    const std::byte* b,
    std::byte* out,
    void* scratch);
int64_t weight_sums_scratch(const ConvolutionCall& call);
void weight_sums(
    const ConvolutionCall& call,
    const std::byte* x,
    const std::byte* y,
    std::byte* out,
    void* scratch);

// For groups of few channels, whose tiles would be nearly empty: computes all groups at once,
// without products of matrices.
bool has_few_channels(const ConvolutionCall& call);
int64_t few_channels_scratch(const ConvolutionCall& call);
void few_channels(
    const ConvolutionCall& call,
    const std::byte* a,
    const std::byte* b,
    std::byte* out,
    void* scratch);

} // namespace narrows::cpu::tiles
