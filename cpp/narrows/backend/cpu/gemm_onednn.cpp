#include "narrows/backend/cpu/gemm_libraries.h"

#if NARROWS_HAS_ONEDNN

#include <omp.h>
#include <dnnl.hpp>

#include <algorithm>
#include <cstring>

#include "narrows/runtime/parallel.h"

namespace narrows::cpu::onednn {
namespace {

// oneDNN takes its threads from OpenMP's setting of the calling thread: in a child after fork(),
// where only one thread exists, and under NARROWS_NUM_THREADS that setting must be ours.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~ThreadScope() {
    omp_set_num_threads(before_);
  }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

// Generated code holds offsets within a block of rows in 32 bits; larger shapes go elsewhere.
bool fits(const GemmShape& s) {
  constexpr int64_t kLimit = int64_t{1} << 26;
  return std::max({s.m, s.n, s.k, s.lda, s.ldb, s.ldc}) < kLimit;
}

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::memory::data_type type_of(Dtype dtype) {
  using Type = dnnl::memory::data_type;
  return dtype == Dtype::float32 ? Type::f32 : dtype == Dtype::float16 ? Type::f16 : Type::bf16;
}

// A rows by columns matrix whose memory may be transposed. A lone row in memory has no distance
// to the next: its tightest layout is the one that most kernels accept.
dnnl::memory::desc describe(
    dnnl::memory::data_type type, int64_t rows, int64_t columns, bool transpose, int64_t ld) {
  const int64_t stride = (transpose ? columns : rows) == 1 ? (transpose ? rows : columns) : ld;
  const dnnl::memory::dims strides =
      transpose ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
  return {dnnl::memory::dims{rows, columns}, type, strides};
}

class Matmul final : public Product {
 public:
  Matmul(const dnnl::matmul::primitive_desc& description, int threads)
      : threads_(threads), description_(description), primitive_(description) {
  }

  int64_t scratch_bytes() const override {
    return static_cast<int64_t>(description_.scratchpad_desc().get_size());
  }

  void run(const void* a, const void* b, void* c, void* scratch) const override {
    const ThreadScope scope(threads_);
    dnnl::stream stream(engine());
    const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, engine(), const_cast<void*>(data));
    };
    primitive_.execute(
        stream,
        {{DNNL_ARG_SRC, memory(description_.src_desc(), a)},
         {DNNL_ARG_WEIGHTS, memory(description_.weights_desc(), b)},
         {DNNL_ARG_DST, memory(description_.dst_desc(), c)},
         {DNNL_ARG_SCRATCHPAD, memory(description_.scratchpad_desc(), scratch)}});
  }

 private:
  int threads_;
  dnnl::matmul::primitive_desc description_;
  dnnl::matmul primitive_;
};

} // namespace

bool multiply_float32(
    const GemmShape& s, float alpha, const void* a, const void* b, float beta, void* c) {
  if (!fits(s)) {
    return false;
  }
  const ThreadScope scope(thread_count());
  return dnnl_sgemm(
             s.transpose_a ? 'T' : 'N',
             s.transpose_b ? 'T' : 'N',
             s.m,
             s.n,
             s.k,
             alpha,
             static_cast<const float*>(a),
             s.lda,
             static_cast<const float*>(b),
             s.ldb,
             beta,
             static_cast<float*>(c),
             s.ldc) == dnnl_success;
}

std::unique_ptr<Product> prepare(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
  if (!fits(s)) {
    return nullptr;
  }
  const ThreadScope scope(threads);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // The fast kernels take a sum only as the first step, so alpha * (a b + (beta / alpha) * c).
  dnnl::post_ops steps;
  if (beta != 0) {
    steps.append_sum(beta / alpha);
  }
  if (alpha != 1) {
    steps.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0);
  }
  attributes.set_post_ops(steps);
  const dnnl::memory::data_type type = type_of(dtype);
  const dnnl::matmul::primitive_desc description(
      engine(),
      describe(type, s.m, s.k, s.transpose_a, s.lda),
      describe(type, s.k, s.n, s.transpose_b, s.ldb),
      describe(type, s.m, s.n, false, s.ldc),
      attributes,
      /*allow_empty=*/true);
  // The reference code is hundreds of times slower than conversion to float32.
  if (!description || std::strncmp(description.impl_info_str(), "ref", 3) == 0) {
    return nullptr;
  }
  return std::make_unique<Matmul>(description, threads);
}

} // namespace narrows::cpu::onednn

#else

namespace narrows::cpu::onednn {

bool multiply_float32(const GemmShape&, float, const void*, const void*, float, void*) {
  return false;
}

std::unique_ptr<Product> prepare(Dtype, const GemmShape&, float, float, int) {
  return nullptr;
}

} // namespace narrows::cpu::onednn

#endif
