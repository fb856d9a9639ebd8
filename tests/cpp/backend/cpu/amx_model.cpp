// Compiled for x86-64-v3, as the loops around the tiles need it.
#define NARROWS_ISA amx_model
#include "backend/cpu/amx_model.h"

#include "narrows/backend/cpu/kernels/quantized_byte_panels.h"

namespace narrows::cpu::amx_model {
namespace {

// Tiles by the words of the processor's manual. What a program may not do leaves a number that no
// test expects: reading a tile beyond its shape, or using other shapes than were set.
class ModelTiles {
 public:
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
        for (int64_t k = 0; k < code_rows_; ++k) {
          for (int64_t i = 0; i < 4; ++i) {
            const int32_t x = static_cast<int8_t>(tiles_[left][m][4 * k + i]);
            const int32_t code = tiles_[codes][k][4 * n + i];
            sum += x * code;
          }
        }
        std::memcpy(tiles_[sums][m] + 4 * n, &sum, sizeof(sum));
      }
    }
  }

 private:
  int64_t code_rows_;
  uint8_t tiles_[8][kTileSide][kTileRowBytes];
};

} // namespace

CodePanelTile byte_panels_of(int bits) {
  return byte_panels<ModelTiles>(bits);
}

} // namespace narrows::cpu::amx_model
