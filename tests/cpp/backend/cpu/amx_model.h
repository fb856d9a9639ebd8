// The products by tiles, with tiles that are computed: on processors that have none.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_tiles.h"

namespace narrows::cpu::amx_model {

CodePanelTile byte_panels_of(int bits);
// In the order of i8mm: of two rows, and of all columns, eight numbers lie together.
CodePanelTile paired_panels_of(int bits);

} // namespace narrows::cpu::amx_model
