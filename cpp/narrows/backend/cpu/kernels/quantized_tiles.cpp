#include "narrows/backend/cpu/kernels/quantized_tiles.h"

#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/kernels/quantized_floats.h"
#include "narrows/backend/cpu/kernels/quantized_loops.h"

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

} // namespace

QuantizedTile quantized_tile(const KernelId& id) {
  switch (id.mode) {
    case NARROWS_QUANTIZED_MXFP4:
      return Quantized<FloatCodes<E2M1, PowerScale, 4>>::tile();
    case NARROWS_QUANTIZED_MXFP8:
      return Quantized<FloatCodes<E4M3, PowerScale, 4>>::tile();
    case NARROWS_QUANTIZED_NVFP4:
      return Quantized<FloatCodes<E2M1, FloatScale, 2>>::tile();
    default:
      return affine_tile(id.bits);
  }
}

} // namespace narrows::cpu::NARROWS_ISA
