// An NVIDIA GPU, through CUDA.
#pragma once

#include "narrows/runtime/backend.h"

// The backend of the first GPU; nullptr if there is none that it can use. narrows calls this after
// loading the library.
extern "C" __attribute__((visibility("default"))) narrows::Backend* narrows_cuda_backend();
