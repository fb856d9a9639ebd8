// The inner loops of batch normalization, for the processor's instruction set.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

// Of rows of channels, which are row-contiguous. Results may overwrite x or the cotangents.
struct BatchNormTile {
  // Adds rows to the means of `before` other rows and to the sums of their squared distances from
  // these means.
  void (*add_moments)(
      const float* x,
      int64_t rows,
      int64_t channels,
      int64_t before,
      double* means,
      double* squares);
  // y = (x - mean) * scale + bias
  void (*normalize)(
      const float* x,
      int64_t rows,
      int64_t channels,
      const float* means,
      const float* scales,
      const float* biases,
      float* y);
  // sums += cotangents; products += cotangents * (x - mean)
  void (*add_products)(
      const float* cotangents,
      const float* x,
      int64_t rows,
      int64_t channels,
      const float* means,
      double* sums,
      double* products);
  // out = cotangents * scale + (x - mean) * slope + offset
  void (*gradient)(
      const float* cotangents,
      const float* x,
      int64_t rows,
      int64_t channels,
      const float* means,
      const float* scales,
      const float* slopes,
      const float* offsets,
      float* out);
};

BatchNormTile batch_norm_tile();

#define NARROWS_DECLARE_BATCH_NORM(isa) \
  namespace isa {                       \
  BatchNormTile batch_norm_tile();      \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_BATCH_NORM)
#undef NARROWS_DECLARE_BATCH_NORM

} // namespace narrows::cpu
