// What the parameter structs share. Each family has its own beside its kernels, for kernels and
// host code: plain structs of fixed layout. Sizes and strides count elements. Dimensions are
// collapsed by the host and walked from the last (fastest) to the first.
#pragma once

#if !defined(__METAL_VERSION__)
#include <cstdint>
#endif

// The most dimensions a kernel walks; the host launches once per index of any further ones.
#define NARROWS_MAX_DIMS 8
// Inputs of an elementwise kernel and its output.
#define NARROWS_MAX_OPERANDS 4
