// Every kernel file includes this header first. It turns the file into Metal Shading Language for
// the compiler at hand.
//
// The same text is compiled by Apple's compiler (compat/msl.h), by nvcc (compat/cuda.h), by any C++
// compiler for the emulated GPU (compat/host.h), and by clang to check address spaces
// (compat/msl_check.h). README.md lists what a kernel author writes that is not plain MSL.
#pragma once

#if defined(METAL_COMPAT_MSL_CHECK)
#include "compat/msl_check.h"
#elif defined(__METAL_VERSION__)
#include "compat/msl.h"
#elif defined(__CUDACC__)
#include "compat/cuda.h"
#else
#include "compat/host.h"
#endif
