#include "narrows/backend/cpu/kernels/attention_tiles.h"

#include "narrows/backend/cpu/kernels/attention_loops.h"

namespace narrows::cpu::NARROWS_ISA {

AttentionTile attention_tile(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return Attention<float, Half>::tile();
    case Dtype::bfloat16:
      return Attention<float, Bfloat>::tile();
    case Dtype::float64:
      return Attention<double, double>::tile();
    default:
      return Attention<float, float>::tile();
  }
}

} // namespace narrows::cpu::NARROWS_ISA
