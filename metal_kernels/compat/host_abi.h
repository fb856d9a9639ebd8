// What kernels compiled for the host ask of the engine that runs them, thread by thread.
#pragma once

#include "signature.h"

namespace metal_emu {

// The view of one thread.
struct ThreadContext {
  unsigned positions[kPositions][3];
  void* const* buffers;         // by buffer index
  mutable size_t arrays = 0;    // threadgroup arrays that the thread has declared so far
  mutable size_t array_end = 0; // the end of the last of them
};
using ThreadFunction = void (*)(const ThreadContext&);

// The engine implements these functions. A place is one in the kernel's source.
void barrier(const char* file, int line);
// Deposits `size` bytes and waits for the 32 lanes of the simdgroup. Returns their deposits, 64
// bytes apart.
const unsigned char* simd_exchange(
    const void* in, size_t size, const char* function, const char* file, int line);
unsigned simd_lane();
void* threadgroup_array(size_t size, const char* name);

} // namespace metal_emu
