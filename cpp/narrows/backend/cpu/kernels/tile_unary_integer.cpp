// Tile kernels with one argument of integer types or bool.
#include "narrows/backend/cpu/kernels/tile_loops.h"

namespace narrows::cpu::NARROWS_ISA {

void add_unary_integer_kernels(TileKernels& table) {
  fill_rows<1, bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t>(
      table);
}

} // namespace narrows::cpu::NARROWS_ISA
