// Tile kernels with two arguments of floating or complex types.
#include "narrows/backend/cpu/kernels/tile_loops.h"

namespace narrows::cpu::NARROWS_ISA {

void add_binary_float_kernels(TileKernels& table) {
  fill_rows<2, float, double, complex64_t>(table);
}

} // namespace narrows::cpu::NARROWS_ISA
