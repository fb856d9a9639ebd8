// Runs kernels on the host, thread by thread, with real barriers, and reports their mistakes.
//
// Every thread of a threadgroup is a fiber. It gives up the processor only at a barrier and in a
// simdgroup function. A launch fails with a std::runtime_error that names kernel and place if
// - threads of one threadgroup wait at different barriers, or only some of them wait at one,
// - lanes of one simdgroup call different simdgroup functions, or only some of them call one,
// - threadgroup arrays exceed Metal's 32 KB, or differ between threads,
// - a buffer is missing, misaligned, or smaller than what the kernel refers to.
// Threadgroup arrays are filled with NaN at first. A missing barrier shows as a result that depends
// on the order of the threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "metal_kernels/compat/signature.h"

namespace narrows::emulated {

// The order in which threads run between two barriers. The first one in use is that of
// NARROWS_EMULATED_ORDER: reverse, random, else forward.
enum class ThreadOrder { forward, reverse, random };
void set_thread_order(ThreadOrder order, unsigned seed = 1);

struct Binding {
  void* memory = nullptr;
  int64_t bytes = 0;
};

struct Launch {
  const metal_emu::KernelInfo* kernel;
  std::span<const Binding> buffers; // by buffer index
  std::array<uint32_t, 3> groups;
  uint32_t threads; // per threadgroup
};

// nullptr if there is no kernel of this name.
const metal_emu::KernelInfo* find_kernel(std::string_view name);
std::vector<std::string> kernel_names();

void run(const Launch& launch);

} // namespace narrows::emulated
