#include "narrows/backend/cpu/gemm_libraries.h"

#if NARROWS_HAS_ONEDNN

#include <omp.h>
#include <dnnl.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

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

// True for code that may run: fast, and with the stack pointer in the thread's stack. oneDNN's
// float32 "gemm" kernels, which its sgemm runs too, point the stack pointer at a block of the heap;
// the kernel would write a signal's frame in front of that block. "ref" is reference code, hundreds
// of times slower than conversion to float32. "brg" kernels, for AVX-512 and AMX, are what remains.
bool is_good(const char* implementation) {
  return std::strncmp(implementation, "brg", 3) == 0;
}

std::shared_ptr<const Product> make_product(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
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
  if (!description || !is_good(description.impl_info_str())) {
    return nullptr;
  }
  return std::make_shared<Matmul>(description, threads);
}

struct Request {
  Dtype dtype;
  GemmShape shape;
  float alpha;
  float beta;
  int threads;
  bool operator==(const Request&) const = default;
};

// The latest answers to a thread's requests, the newest first. Making a product takes microseconds.
class Answers {
 public:
  std::shared_ptr<const Product> find_or_make(const Request& r) {
    const auto found = std::find_if(answers_.begin(), answers_.end(), [&](const Answer& answer) {
      return answer.request == r;
    });
    if (found != answers_.end()) {
      std::rotate(answers_.begin(), found, found + 1);
      return answers_.front().product;
    }
    auto product = make_product(r.dtype, r.shape, r.alpha, r.beta, r.threads);
    if (answers_.size() == kMost) {
      answers_.pop_back();
    }
    answers_.insert(answers_.begin(), {r, product});
    return product;
  }

 private:
  static constexpr size_t kMost = 32;
  struct Answer {
    Request request;
    std::shared_ptr<const Product> product;
  };
  std::vector<Answer> answers_;
};

} // namespace

std::shared_ptr<const Product> prepare(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
  if (!fits(s)) {
    return nullptr;
  }
  thread_local Answers answers;
  return answers.find_or_make({dtype, s, alpha, beta, threads});
}

} // namespace narrows::cpu::onednn

#else

namespace narrows::cpu::onednn {

std::shared_ptr<const Product> prepare(Dtype, const GemmShape&, float, float, int) {
  return nullptr;
}

} // namespace narrows::cpu::onednn

#endif
