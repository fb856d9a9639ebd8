// An NVIDIA GPU, through CUDA.
#pragma once

#include "narrows/runtime/backend.h"

// The backend of the first GPU, or nullptr where there is none that it can use. Called by narrows
// once it has loaded this library.
extern "C" __attribute__((visibility("default"))) narrows::Backend* narrows_cuda_backend();
