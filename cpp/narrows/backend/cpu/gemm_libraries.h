// What gemm.cpp asks of the libraries that multiply: OpenBLAS always, oneDNN where it is built in.
#pragma once

#include <memory>

#include "narrows/backend/cpu/gemm.h"

namespace narrows::cpu {

namespace openblas {

// Must be called before any function of OpenBLAS, which has a thread pool of its own. The pool of
// parallel.h does the work instead: two pools that spin are slower than one, and the threads of a
// pool do not survive fork().
void use_calling_thread_only();

// One product of float32, float64 or complex64 on the calling thread; m, n, k are positive. Safe
// to call from several threads at once.
void multiply(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c);

} // namespace openblas

namespace onednn {

// A product that is prepared once and runs many times, also on several threads at once.
class Product {
 public:
  virtual ~Product() = default;
  // Bytes of scratch for each run at a time.
  virtual int64_t scratch_bytes() const = 0;
  virtual void run(const void* a, const void* b, void* c, void* scratch) const = 0;
};

// A product of float16, bfloat16 or float32 that runs on `threads` threads. nullptr where oneDNN is
// not built in, or has no code for it on this machine that is fast and safe under signals. alpha
// must not be 0. The calling thread keeps its latest products, so asking again is cheap.
std::shared_ptr<const Product> prepare(
    Dtype dtype, const GemmShape& shape, float alpha, float beta, int threads);

} // namespace onednn

// Products of float16 and bfloat16 in float32, for machines where prepare() returns nullptr. Blocks
// of the operands are converted into a bounded workspace.
int64_t converted_gemm_workspace(const GemmShape& shape);
void converted_gemm(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c,
    void* workspace);

} // namespace narrows::cpu
