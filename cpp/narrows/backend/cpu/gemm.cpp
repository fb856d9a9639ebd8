#include "narrows/backend/cpu/gemm.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/backend/cpu/gemm_parts.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/parallel.h"
#include "narrows/runtime/subnormals.h"

namespace narrows::cpu {
namespace {

// Up to so many multiply-adds, OpenBLAS on one thread beats oneDNN, whose calls cost more.
constexpr double kSmallProduct = 96.0 * 96 * 96;
// OpenBLAS is also faster if m, n and k are all at least this large.
constexpr int64_t kLongEdge = 2048;
// Products of this size use all threads even if they come in batches.
constexpr double kLargeProduct = 512.0 * 512 * 512;
// A product whose output is small and whose sums are long is split along the sums. This
// depends on the shape alone, so the workspace and the result do too.
constexpr int64_t kSplitMaxOutput = 128 * 128;
constexpr int64_t kSplitMinLength = 4096;
constexpr int64_t kSplitMaxParts = 8;

constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) {
  return divided_up(bytes, kAlignment) * kAlignment;
}

void check_dtype(Dtype dtype) {
  if (!is_inexact(dtype)) {
    fail<TypeError>("[matmul] There is no product of ", name_of(dtype), " arrays.");
  }
}

// c = beta * c
void scale(Dtype dtype, const GemmShape& s, float beta, void* c) {
  if (beta == 1) {
    return;
  }
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    // 16-bit types have no arithmetic of their own.
    using Wide = std::conditional_t<sizeof(T) == 2, float, T>;
    for (int64_t row = 0; row < s.m; ++row) {
      T* out = static_cast<T*>(c) + row * s.ldc;
      for (int64_t i = 0; i < s.n; ++i) {
        if constexpr (std::is_integral_v<T>) {
          out[i] = T{};
        } else {
          out[i] = beta == 0 ? T{} : T(Wide(beta) * Wide(out[i]));
        }
      }
    }
  });
}

// Finishes products without work: those with an empty output, and those to which a and b contribute
// nothing. Returns whether it did.
bool finish_trivial(Dtype dtype, const GemmShape& s, float alpha, float beta, void* c) {
  if (s.m > 0 && s.n > 0 && s.k > 0 && alpha != 0) {
    return false;
  }
  if (s.m > 0 && s.n > 0) {
    scale(dtype, s, beta, c);
  }
  return true;
}

// The number of pieces that the sums are split into. It is 1 for most shapes.
int64_t sum_parts(const GemmShape& s) {
  if (s.m > kSplitMaxOutput || s.n > kSplitMaxOutput || s.m * s.n > kSplitMaxOutput) {
    return 1;
  }
  return std::clamp<int64_t>(s.k / kSplitMinLength, 1, kSplitMaxParts);
}

int64_t split_workspace(Dtype dtype, const GemmShape& s) {
  const int64_t parts = sum_parts(s);
  return parts == 1 ? 0 : parts * s.m * s.n * size_of(dtype);
}

template <typename T>
void add_parts(const GemmShape& s, int64_t parts, const T* partial, float beta, T* c) {
  for (int64_t row = 0; row < s.m; ++row) {
    for (int64_t column = 0; column < s.n; ++column) {
      T& out = c[row * s.ldc + column];
      T sum = beta == 0 ? T{} : T(beta) * out;
      for (int64_t part = 0; part < parts; ++part) {
        sum += partial[(part * s.m + row) * s.n + column];
      }
      out = sum;
    }
  }
}

// Splits the sums into pieces, which are added in a fixed order.
void multiply_split(
    Dtype dtype,
    const GemmShape& s,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c,
    void* workspace) {
  const int64_t parts = sum_parts(s);
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const Range range = part_of(s.k, parts, part);
      GemmShape piece = s;
      piece.k = range.end - range.begin;
      piece.ldc = s.n;
      openblas::multiply(
          dtype,
          piece,
          alpha,
          at(a, dtype, s.transpose_a ? range.begin * s.lda : range.begin),
          at(b, dtype, s.transpose_b ? range.begin : range.begin * s.ldb),
          0,
          at(workspace, dtype, part * s.m * s.n));
    }
  });
  const auto add = [&](auto tag) {
    using T = decltype(tag);
    add_parts(s, parts, static_cast<const T*>(workspace), beta, static_cast<T*>(c));
  };
  dtype == Dtype::float32   ? add(float{})
  : dtype == Dtype::float64 ? add(double{})
                            : add(complex64_t{});
}

// The product as oneDNN runs it; nullptr where OpenBLAS is faster or oneDNN has no code for it.
std::shared_ptr<const onednn::Product> prepare(
    Dtype dtype, const GemmShape& s, float alpha, float beta, int threads) {
  const bool wants =
      is_half(dtype) || (dtype == Dtype::float32 && !is_vector_product(s) &&
                         work(s) > kSmallProduct && std::min({s.m, s.n, s.k}) < kLongEdge);
  return wants ? onednn::prepare(dtype, s, alpha, beta, threads) : nullptr;
}

// A 16-bit row times a matrix, cut into pieces of the output, one for each thread. The library's
// own division of such a product waits for memory on one thread.
class RowProduct {
 public:
  RowProduct(Dtype dtype, const GemmShape& s, float alpha, float beta)
      : dtype_(dtype), shape_(s), width_(s.n) {
    const double most = std::min<double>(thread_count(), work(s) / kVectorGrain);
    if (s.m != 1 || most < 2) {
      return;
    }
    const int64_t threads = static_cast<int64_t>(most);
    width_ = aligned(divided_up(s.n, threads));
    parts_ = divided_up(s.n, width_);
    if (parts_ < 2) {
      return;
    }
    GemmShape piece = s;
    piece.n = width_;
    body_ = onednn::prepare(dtype, piece, alpha, beta, 1);
    piece.n = s.n - (parts_ - 1) * width_;
    tail_ = onednn::prepare(dtype, piece, alpha, beta, 1);
  }

  // False for products that are not a long row, or that the library cannot compute in pieces.
  explicit operator bool() const {
    return body_ && tail_;
  }

  int64_t workspace() const {
    return parts_ * scratch();
  }

  void run(const void* a, const void* b, void* c, void* workspace) const {
    parallel_for(parts_, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        const int64_t column = part * width_;
        (part + 1 == parts_ ? tail_ : body_)
            ->run(
                a,
                at(b, dtype_, shape_.transpose_b ? column * shape_.ldb : column),
                at(c, dtype_, column),
                static_cast<std::byte*>(workspace) + part * scratch());
      }
    });
  }

 private:
  int64_t scratch() const {
    return aligned(std::max(body_->scratch_bytes(), tail_->scratch_bytes()));
  }

  Dtype dtype_;
  GemmShape shape_;
  int64_t width_;
  int64_t parts_ = 1;
  std::shared_ptr<const onednn::Product> body_;
  std::shared_ptr<const onednn::Product> tail_;
};

// A batch runs side by side, one product on each thread, unless its products are large.
bool runs_side_by_side(const GemmShape& s, int64_t batch) {
  return batch > 1 && work(s) < kLargeProduct;
}

} // namespace

int64_t gemm_workspace(Dtype dtype, const GemmShape& s, float alpha, float beta) {
  check_dtype(dtype);
  if (s.m == 0 || s.n == 0 || s.k == 0 || alpha == 0) {
    return 0;
  }
  if (!is_half(dtype) && sum_parts(s) > 1) {
    return split_workspace(dtype, s);
  }
  // A child after fork() has one thread, for which the library may need other workspace.
  int64_t bytes = 0;
  for (const int threads : {1, thread_count()}) {
    if (const auto product = prepare(dtype, s, alpha, beta, threads)) {
      bytes = std::max(bytes, product->scratch_bytes());
    } else if (is_half(dtype)) {
      bytes = std::max(bytes, converted_gemm_workspace(s));
    }
  }
  if (!is_half(dtype)) {
    return bytes;
  }
  const RowProduct row(dtype, s, alpha, beta);
  return row ? std::max(bytes, row.workspace()) : bytes;
}

void gemm(
    Dtype dtype,
    const GemmShape& s,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c,
    void* workspace) {
  check_dtype(dtype);
  const SubnormalsFlushed flushed(dtype);
  if (finish_trivial(dtype, s, alpha, beta, c)) {
    return;
  }
  if (!is_half(dtype) && sum_parts(s) > 1) {
    multiply_split(dtype, s, alpha, a, b, beta, c, workspace);
    return;
  }
  if (is_half(dtype)) {
    if (const RowProduct row(dtype, s, alpha, beta); row) {
      row.run(a, b, c, workspace);
      return;
    }
  }
  if (const auto product = prepare(dtype, s, alpha, beta, thread_count())) {
    product->run(a, b, c, workspace);
  } else if (is_half(dtype)) {
    converted_gemm(dtype, s, alpha, a, b, beta, c, workspace);
  } else {
    multiply_in_parts(dtype, s, alpha, a, b, beta, c);
  }
}

int64_t gemm_batched_workspace(
    Dtype dtype, const GemmShape& s, int64_t batch, float alpha, float beta) {
  check_dtype(dtype);
  if (s.m == 0 || s.n == 0 || s.k == 0 || alpha == 0 || batch == 0) {
    return 0;
  }
  if (runs_side_by_side(s, batch)) {
    if (const auto product = prepare(dtype, s, alpha, beta, 1)) {
      return thread_count() * aligned(product->scratch_bytes());
    }
    if (!is_half(dtype)) {
      return 0;
    }
  }
  return gemm_workspace(dtype, s, alpha, beta);
}

void gemm_batched(
    Dtype dtype,
    const GemmShape& s,
    float alpha,
    const void* a,
    const int64_t* a_offsets,
    const void* b,
    const int64_t* b_offsets,
    float beta,
    void* c,
    const int64_t* c_offsets,
    int64_t batch,
    void* workspace) {
  check_dtype(dtype);
  const SubnormalsFlushed flushed(dtype);
  const auto product = runs_side_by_side(s, batch) && s.k > 0 && s.m > 0 && s.n > 0 && alpha != 0
                           ? prepare(dtype, s, alpha, beta, 1)
                           : nullptr;
  if (!runs_side_by_side(s, batch) || (is_half(dtype) && !product)) {
    for (int64_t i = 0; i < batch; ++i) {
      gemm(
          dtype,
          s,
          alpha,
          at(a, dtype, a_offsets[i]),
          at(b, dtype, b_offsets[i]),
          beta,
          at(c, dtype, c_offsets[i]),
          workspace);
    }
    return;
  }
  const double share =
      std::max(1.0, (is_vector_product(s) ? kVectorGrain : kMatrixGrain) / std::max(1.0, work(s)));
  const int64_t threads = std::min<int64_t>(thread_count(), batch / static_cast<int64_t>(share));
  const int64_t parts = std::max<int64_t>(1, threads);
  const int64_t scratch = product ? aligned(product->scratch_bytes()) : 0;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      for (int64_t i = batch * part / parts; i < batch * (part + 1) / parts; ++i) {
        const void* a_i = at(a, dtype, a_offsets[i]);
        const void* b_i = at(b, dtype, b_offsets[i]);
        void* c_i = at(c, dtype, c_offsets[i]);
        if (product) {
          product->run(a_i, b_i, c_i, static_cast<std::byte*>(workspace) + part * scratch);
        } else if (!finish_trivial(dtype, s, alpha, beta, c_i)) {
          openblas::multiply(dtype, s, alpha, a_i, b_i, beta, c_i);
        }
      }
    }
  });
}

} // namespace narrows::cpu
