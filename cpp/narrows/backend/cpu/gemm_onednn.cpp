#include "narrows/backend/cpu/gemm_libraries.h"

#if NARROWS_HAS_ONEDNN

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "narrows/backend/cpu/gemm_parts.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/onednn.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu::onednn {
namespace {

// Generated code has 32-bit offsets within a block of rows. Larger shapes are computed elsewhere.
bool fits(const GemmShape& s) {
  constexpr int64_t kLimit = int64_t{1} << 26;
  return std::max({s.m, s.n, s.k, s.lda, s.ldb, s.ldc}) < kLimit;
}

// A rows by columns matrix whose memory may be transposed. A single row in memory has no distance
// to the next one: it gets the tightest layout, which most kernels accept.
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

// Whether the code may run: it must be fast and keep the stack pointer in the thread's stack.
// oneDNN's float32 "gemm" kernels, which its sgemm runs too, point the stack pointer at a block of
// the heap. A signal's frame would then be written in front of that block. "ref" is reference code,
// hundreds of times slower than conversion to float32. There remain "brg" kernels, for AVX-512 and
// AMX.
bool is_good(const char* implementation) {
  return std::strncmp(implementation, "brg", 3) == 0;
}

std::shared_ptr<const Product> make_product(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
  const ThreadScope scope(threads);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // The fast kernels take a sum only as the first step: alpha * (a b + (beta / alpha) * c).
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

// A float32 product in parts, each on one thread of ours: the library's own threads would take
// subnormal numbers as they are, and slowly.
class InParts final : public Product {
 public:
  // nullptr if there is no good code for a part.
  static std::shared_ptr<const Product> make(
      const GemmShape& shape, float alpha, float beta, int threads) {
    auto product = std::make_shared<InParts>();
    const Grid grid = grid_of(shape, threads);
    for (int64_t i = 0; i < grid.count(); ++i) {
      const Part part = part_of(shape, grid, i);
      if (part.shape.m > 0 && part.shape.n > 0 && !product->add(part, alpha, beta)) {
        return nullptr;
      }
    }
    return product;
  }

  int64_t scratch_bytes() const override {
    return static_cast<int64_t>(parts_.size()) * scratch_;
  }

  void run(const void* a, const void* b, void* c, void* scratch) const override {
    parallel_for(static_cast<int64_t>(parts_.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto& [part, product] = parts_[static_cast<size_t>(i)];
        product->run(
            at(a, Dtype::float32, part.a),
            at(b, Dtype::float32, part.b),
            at(c, Dtype::float32, part.c),
            static_cast<std::byte*>(scratch) + i * scratch_);
      }
    });
  }

 private:
  struct Prepared {
    Part part;
    std::shared_ptr<const Product> product;
  };

  bool add(const Part& part, float alpha, float beta) {
    constexpr int64_t kAlignment = 64;
    // Most parts have the shape of another one.
    const auto same = std::find_if(parts_.begin(), parts_.end(), [&](const Prepared& other) {
      return other.part.shape == part.shape;
    });
    auto product = same != parts_.end() ? same->product
                                        : make_product(Dtype::float32, part.shape, alpha, beta, 1);
    if (!product) {
      return false;
    }
    const int64_t scratch = divided_up(product->scratch_bytes(), kAlignment) * kAlignment;
    scratch_ = std::max(scratch_, scratch);
    parts_.push_back({part, std::move(product)});
    return true;
  }

  std::vector<Prepared> parts_;
  int64_t scratch_ = 0;
};

// While one lives, the calling thread takes no signal: those that come wait.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsHeld() {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

// A float32 product whose sums are short and whose output is large, on processors that have AVX2
// alone. sgemm writes the output once; OpenBLAS fills it with zeros, reads it and writes it again,
// which takes 1.2 to 2.4 times as long (measured on an AMD EPYC). For some shapes sgemm moves the
// stack pointer: so each thread holds its signals back while it is in there. Like OpenBLAS it packs
// blocks of b in memory of its own, which no plan counts: at most some 6 MB for each thread.
class ShortSums final : public Product {
 public:
  static bool is_better(Dtype dtype, const GemmShape& s) {
    return cpu_isa_level() == 3 && dtype == Dtype::float32 && s.k <= 128 &&
           s.m * s.n >= int64_t{1} << 20;
  }

  ShortSums(const GemmShape& shape, float alpha, float beta, int threads)
      : shape_(shape), alpha_(alpha), beta_(beta), parts_(threads) {
  }

  int64_t scratch_bytes() const override {
    return 0;
  }

  void run(const void* a, const void* b, void* c, void*) const override {
    const bool by_rows = shape_.m >= shape_.n;
    std::atomic<bool> failed{false};
    parallel_for(parts_, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        const Range rows = by_rows ? part_of(shape_.m, parts_, part) : Range{0, shape_.m};
        const Range columns = by_rows ? Range{0, shape_.n} : part_of(shape_.n, parts_, part);
        if (!multiply(rows, columns, a, b, c)) {
          failed = true;
        }
      }
    });
    if (failed) {
      fail<MemoryError>("[matmul] cannot allocate what a product needs.");
    }
  }

 private:
  bool multiply(Range rows, Range columns, const void* a, const void* b, void* c) const {
    const GemmShape& s = shape_;
    const ThreadScope scope(1);
    const SignalsHeld held;
    return dnnl_sgemm(
               s.transpose_a ? 'T' : 'N',
               s.transpose_b ? 'T' : 'N',
               rows.end - rows.begin,
               columns.end - columns.begin,
               s.k,
               alpha_,
               static_cast<const float*>(a) + rows.begin * (s.transpose_a ? 1 : s.lda),
               s.lda,
               static_cast<const float*>(b) + columns.begin * (s.transpose_b ? s.ldb : 1),
               s.ldb,
               beta_,
               static_cast<float*>(c) + rows.begin * s.ldc + columns.begin,
               s.ldc) == dnnl_success;
  }

  GemmShape shape_;
  float alpha_;
  float beta_;
  int parts_;
};

struct Request {
  Dtype dtype;
  GemmShape shape;
  float alpha;
  float beta;
  int threads;
  bool operator==(const Request&) const = default;
};

} // namespace

std::shared_ptr<const Product> prepare(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
  if (!fits(s)) {
    return nullptr;
  }
  thread_local Answers<Request, Product, 32> answers;
  return answers.find_or_make(
      {dtype, s, alpha, beta, threads}, [&]() -> std::shared_ptr<const Product> {
        if (ShortSums::is_better(dtype, s)) {
          return std::make_shared<ShortSums>(s, alpha, beta, threads);
        }
        if (dtype == Dtype::float32 && threads > 1) {
          return InParts::make(s, alpha, beta, threads);
        }
        return make_product(dtype, s, alpha, beta, threads);
      });
}

} // namespace narrows::cpu::onednn

#else

namespace narrows::cpu::onednn {

std::shared_ptr<const Product> prepare(Dtype, const GemmShape&, float, float, int) {
  return nullptr;
}

} // namespace narrows::cpu::onednn

#endif
