// The products in integers. This file is also compiled for the instruction sets of integer_isa.h.
#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/kernels/quantized_code_panels.h"
#include "narrows/backend/cpu/kernels/quantized_dot_tiles.h"
#include "narrows/backend/cpu/kernels/quantized_floats.h"
#include "narrows/backend/cpu/kernels/quantized_integer.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"
#include "narrows/backend/cpu/kernels/quantized_words.h"

namespace narrows::cpu::NARROWS_ISA {
#if NARROWS_INTEGER_PRODUCTS
namespace {

using Mxfp4 = FloatCodes<E2M1, PowerScale, 4>;
using Nvfp4 = FloatCodes<E2M1, FloatScale, 2>;

// Codes of other bits than one, two and four.
template <int kBits>
IntegerTile odd_products(bool is_exact) {
#if defined(__AVX2__)
  return word_tile<AffineCodes<kBits>>(is_exact);
#else
  using Bytes = std::conditional_t<kBits == 8, SignedCodes, PlainCodes>;
  return integer_tile<AffineCodes<kBits>, Bytes>(is_exact);
#endif
}

// Floats of eight bits have none: as integers they have 18 bits.
IntegerTile integer_products(const KernelId& id, bool is_exact) {
  switch (id.mode) {
    case NARROWS_QUANTIZED_MXFP4:
      return integer_tile<Mxfp4, FloatCodeBytes>(is_exact);
    case NARROWS_QUANTIZED_NVFP4:
      return integer_tile<Nvfp4, FloatCodeBytes>(is_exact);
    case NARROWS_QUANTIZED_MXFP8:
      return {};
    default:
      break;
  }
  switch (id.bits) {
    case 1:
      return integer_tile<AffineCodes<1>, PlainCodes>(is_exact);
    case 2:
      return integer_tile<AffineCodes<2>, PlainCodes>(is_exact);
    case 3:
      return odd_products<3>(is_exact);
    case 5:
      return odd_products<5>(is_exact);
    case 6:
      return odd_products<6>(is_exact);
    case 8:
      return odd_products<8>(is_exact);
    default:
      return integer_tile<AffineCodes<4>, PlainCodes>(is_exact);
  }
}

#if defined(__AVX2__)
CodePanelTile code_panels(int bits) {
  switch (bits) {
    case 1:
      return CodePanels<AffineCodes<1>>::tile();
    case 2:
      return CodePanels<AffineCodes<2>>::tile();
    case 3:
      return CodePanels<AffineCodes<3>>::tile();
    case 5:
      return CodePanels<AffineCodes<5>>::tile();
    case 6:
      return CodePanels<AffineCodes<6>>::tile();
    case 8:
      return CodePanels<AffineCodes<8>>::tile();
    default:
      return CodePanels<AffineCodes<4>>::tile();
  }
}
#else
CodePanelTile code_panels(int bits) {
  return byte_panels<ArmTiles>(bits);
}
#endif
} // namespace

IntegerTiles integer_tiles(const KernelId& id, bool is_exact) {
  IntegerTiles tiles{integer_products(id, is_exact)};
  if (id.mode == NARROWS_QUANTIZED_AFFINE && !is_exact) {
    tiles.panels = code_panels(id.bits);
  }
  return tiles;
}
#else
IntegerTiles integer_tiles(const KernelId&, bool) {
  return {};
}
#endif

} // namespace narrows::cpu::NARROWS_ISA
