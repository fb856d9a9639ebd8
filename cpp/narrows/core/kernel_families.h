// The families of kernels and their operations. Only files that name a family include this header,
// so a new line in the table recompiles few files.
#pragma once

#include "narrows/core/kernel_id.h"

namespace narrows {

enum class KernelFamily : uint8_t {
#define FAMILY(name, Params, inputs, outputs, gpu) name,
#include "metal_kernels/families.def"
};

// ReduceOp, ScanOp, ...
#define FAMILY(name, Params, inputs, outputs, gpu)
#define FAMILY_OF(name, Params, inputs, outputs, gpu, Operations, ...) \
  enum class Operations : uint8_t { __VA_ARGS__ };
#include "metal_kernels/families.def"

} // namespace narrows
