// Products of many rows with affine codes by the tiles of AMX. Only compiled for x86-64; others
// than these are AVX-512 VNNI's.
#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/kernels/quantized_byte_panels.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// The tiles of this thread, while an object lives: 0 to 3 have sums, 4 and 5 rows of the left
// factor, 6 and 7 codes. Instructions are written out, and each may read and write memory: the
// compiler's own functions do not say which memory they read.
class AmxTiles {
 public:
  static constexpr TileOrder kOrder{4, 1};
  static constexpr bool kCodesHaveSigns = false;

  explicit AmxTiles(int64_t code_rows) {
    struct alignas(64) {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    static_assert(sizeof(shapes) == 64);
    for (int i = 0; i < 8; ++i) {
      shapes.row_bytes[i] = kTileRowBytes;
      shapes.rows[i] = kTileSide;
    }
    for (int i = 0; i < 2; ++i) {
      shapes.row_bytes[4 + i] = static_cast<uint16_t>(4 * code_rows);
      shapes.rows[6 + i] = static_cast<uint8_t>(code_rows);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(shapes) : "memory");
  }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
  ~AmxTiles() {
    __asm__ volatile("tilerelease" ::: "memory");
  }

  template <int tile>
  NARROWS_INLINE void clear() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(tile));
  }
  template <int tile>
  NARROWS_INLINE void load(const std::byte* from, int64_t row_bytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row_bytes), "i"(tile)
                     : "memory");
  }
  template <int tile>
  NARROWS_INLINE void store(int32_t* to, int64_t row_bytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row_bytes), "i"(tile)
                     : "memory");
  }
  // sums += bytes with signs times codes.
  template <int sums, int left, int codes>
  NARROWS_INLINE void add_products() {
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(left), "i"(codes));
  }
};

} // namespace

IntegerTiles integer_tiles(const KernelId& id, bool is_exact) {
  IntegerTiles tiles = v4_vnni::integer_tiles(id, is_exact);
  if (tiles.panels.multiply) {
    tiles.panels = byte_panels<AmxTiles>(id.bits);
  }
  return tiles;
}

} // namespace narrows::cpu::NARROWS_ISA
