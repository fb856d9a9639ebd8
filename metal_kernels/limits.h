// What the parameter structs share. Each family has its structs beside its kernels, for kernels and
// host code: plain structs of fixed layout. Sizes and strides count elements. The host collapses
// dimensions; kernels walk them from the last (fastest) to the first.
#pragma once

#if !defined(__METAL_VERSION__)
#include <cstdint>
#endif

// The most dimensions that a kernel walks. The host makes a call for each index of further ones.
#define NARROWS_MAX_DIMS 8
// Inputs of an elementwise kernel and its output.
#define NARROWS_MAX_OPERANDS 4
