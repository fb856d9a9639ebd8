#include "narrows/backend/cpu/kernels/quantized_tiles.h"

#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/kernels/quantized_code_panels.h"
#include "narrows/backend/cpu/kernels/quantized_floats.h"
#include "narrows/backend/cpu/kernels/quantized_integer.h"
#include "narrows/backend/cpu/kernels/quantized_loops.h"
#include "narrows/backend/cpu/kernels/quantized_words.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

QuantizedTile affine_tile(int bits) {
  switch (bits) {
    case 1:
      return Quantized<AffineCodes<1>>::tile();
    case 2:
      return Quantized<AffineCodes<2>>::tile();
    case 3:
      return Quantized<AffineCodes<3>>::tile();
    case 5:
      return Quantized<AffineCodes<5>>::tile();
    case 6:
      return Quantized<AffineCodes<6>>::tile();
    case 8:
      return Quantized<AffineCodes<8>>::tile();
    default:
      return Quantized<AffineCodes<4>>::tile();
  }
}

using Mxfp4 = FloatCodes<E2M1, PowerScale, 4>;
using Nvfp4 = FloatCodes<E2M1, FloatScale, 2>;

QuantizedTile float_tile(const KernelId& id) {
  switch (id.mode) {
    case NARROWS_QUANTIZED_MXFP4:
      return Quantized<Mxfp4>::tile();
    case NARROWS_QUANTIZED_MXFP8:
      return Quantized<FloatCodes<E4M3, PowerScale, 4>>::tile();
    case NARROWS_QUANTIZED_NVFP4:
      return Quantized<Nvfp4>::tile();
    default:
      return affine_tile(id.bits);
  }
}

#if defined(__AVX2__)
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
      return word_tile<AffineCodes<3>>(is_exact);
    case 5:
      return word_tile<AffineCodes<5>>(is_exact);
    case 6:
      return word_tile<AffineCodes<6>>(is_exact);
    case 8:
      return word_tile<AffineCodes<8>>(is_exact);
    default:
      return integer_tile<AffineCodes<4>, PlainCodes>(is_exact);
  }
}

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
#endif

// From so many rows on panels are faster, as measured with AVX2. Making a panel of codes takes
// about as long as multiplying ten rows by it, and other products take twice as long for a row.
// Making one of floats takes as long as multiplying ten to twenty rows by it, and integers of 16
// bits are multiplied as fast as these floats. With AVX-512 the products of panels of floats take
// half the time, and others as long as before: reckoned, not measured.
int64_t least_panel_rows(const QuantizedTile& tile, bool is_exact) {
  constexpr bool kIsWide = kVectorBytes == 64;
  if (tile.code_panels.multiply) {
    return 12;
  }
  if (!tile.integer.products) {
    return kIsWide ? 8 : 16;
  }
  return is_exact ? (kIsWide ? 12 : 28) : (kIsWide ? 30 : 60);
}

} // namespace

QuantizedTile quantized_tile(const KernelId& id, [[maybe_unused]] bool is_exact) {
  QuantizedTile tile = float_tile(id);
#if defined(__AVX2__)
  tile.integer = integer_products(id, is_exact);
  if (id.mode == NARROWS_QUANTIZED_AFFINE && !is_exact) {
    tile.code_panels = code_panels(id.bits);
  }
#endif
  tile.least_panel_rows = least_panel_rows(tile, is_exact);
  return tile;
}

} // namespace narrows::cpu::NARROWS_ISA
