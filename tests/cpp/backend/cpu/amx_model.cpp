// Compiled for x86-64-v3, as the loops around the tiles need it.
#define NARROWS_ISA amx_model
#include "backend/cpu/amx_model.h"

#include "narrows/backend/cpu/kernels/quantized_byte_panels.h"

namespace narrows::cpu::amx_model {
namespace {

// Tiles by the words of the processor's manual; or in another order, of codes with signs. What a
// program may not do leaves a number that no test expects: reading a tile beyond its shape, or
// using other shapes than were set.
template <TileOrder order, bool codes_have_signs>
class ModelTiles {
 public:
  static constexpr TileOrder kOrder = order;
  static constexpr bool kCodesHaveSigns = codes_have_signs;

  explicit ModelTiles(int64_t code_rows) : code_rows_(code_rows) {
    std::memset(tiles_, 0x55, sizeof(tiles_));
  }

  template <int tile>
  void clear() {
    std::memset(tiles_[tile], 0, sizeof(tiles_[tile]));
  }
  template <int tile>
  void load(const std::byte* from, int64_t row_bytes) {
    static_assert(tile >= 4);
    const int64_t rows = tile < 6 ? kTileSide : code_rows_;
    const int64_t width = tile < 6 ? 4 * code_rows_ : kTileRowBytes;
    std::memset(tiles_[tile], 0, sizeof(tiles_[tile]));
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(tiles_[tile][i], from + i * row_bytes, static_cast<size_t>(width));
    }
  }
  template <int tile>
  void store(int32_t* to, int64_t row_bytes) {
    static_assert(tile < 4);
    for (int64_t i = 0; i < kTileSide; ++i) {
      std::memcpy(reinterpret_cast<std::byte*>(to) + i * row_bytes, tiles_[tile][i], kTileRowBytes);
    }
  }
  template <int sums, int left, int codes>
  void add_products() {
    for (int64_t m = 0; m < kTileSide; ++m) {
      for (int64_t n = 0; n < kTileSide; ++n) {
        int32_t sum;
        std::memcpy(&sum, tiles_[sums][m] + 4 * n, sizeof(sum));
        for (int64_t k = 0; k < 4 * code_rows_; ++k) {
          const int64_t row_place = place(m, k, order.rows, 4 * code_rows_);
          const int64_t code_place = place(n, k, kTileSide, 4 * code_rows_);
          const uint8_t x =
              tiles_[left][row_place / (4 * code_rows_)][row_place % (4 * code_rows_)];
          const uint8_t code =
              tiles_[codes][code_place / kTileRowBytes][code_place % kTileRowBytes];
          sum += static_cast<int8_t>(x) * (codes_have_signs ? static_cast<int8_t>(code) : code);
        }
        std::memcpy(tiles_[sums][m] + 4 * n, &sum, sizeof(sum));
      }
    }
  }

 private:
  // Of number k of a row, or of a column, where so many of them lie together.
  static int64_t place(int64_t i, int64_t k, int64_t together, int64_t length) {
    const int64_t depth = together == 1 ? length : order.depth;
    return i / together * together * length + k / depth * depth * together + i % together * depth +
           k % depth;
  }

  int64_t code_rows_;
  uint8_t tiles_[8][kTileSide][kTileRowBytes];
};

} // namespace

CodePanelTile byte_panels_of(int bits) {
  return byte_panels<ModelTiles<TileOrder{4, 1}, false>>(bits);
}

CodePanelTile paired_panels_of(int bits) {
  return byte_panels<ModelTiles<TileOrder{8, 2}, true>>(bits);
}

} // namespace narrows::cpu::amx_model
