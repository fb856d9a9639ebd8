// The three ways in which the CPU computes convolutions: sums in registers, products of tiles, and
// oneDNN.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "metal_kernels/convolution.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu {

// A call, as convolution_row gets it: the operation, the dtype of all arrays, and their sizes.
struct ConvolutionCall {
  ConvolutionOp op;
  Dtype dtype;
  ConvolutionParams params;

  bool operator==(const ConvolutionCall& other) const {
    return op == other.op && dtype == other.dtype &&
           std::memcmp(&params, &other.params, sizeof(params)) ==
               0; // the parameters are int64 without padding
  }
};

// Any convolution, as products of matrices by OpenBLAS. The elements that filters see are gathered
// tile by tile. 16-bit types are multiplied in float32. The result depends on the call and on the
// number of threads, never on timing.
int64_t tiled_convolution_scratch(const ConvolutionCall& call);
void tiled_convolution(
    const ConvolutionCall& call, const void* a, const void* b, void* out, void* scratch);

// Convolutions of images with few channels, in float32 and without gaps, by sums in registers.
namespace direct {

// Whether this is the fastest way for the call.
bool prefers(const ConvolutionCall& call);
int64_t scratch_bytes(const ConvolutionCall& call);
void run(const ConvolutionCall& call, const void* a, const void* b, void* out, void* scratch);

} // namespace direct

namespace onednn {

// A convolution that is prepared once and runs many times, also on several threads at once.
class Convolution {
 public:
  virtual ~Convolution() = default;
  // Bytes of scratch for each run at a time, aligned to 64.
  virtual int64_t scratch_bytes() const = 0;
  virtual void run(const void* a, const void* b, void* out, void* scratch) const = 0;
};

// nullptr where oneDNN is not built in, or where it has no code for the call on this machine that
// is fast and safe under signals. The convolution runs on `threads` threads. The calling thread
// keeps its latest ones, so asking again is cheap.
std::shared_ptr<const Convolution> prepare(const ConvolutionCall& call, int threads);

} // namespace onednn

} // namespace narrows::cpu
