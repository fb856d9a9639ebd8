#include <cblas.h>

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/core/errors.h"
#include "narrows/core/half.h"

namespace narrows::cpu::openblas {
namespace {

static_assert(sizeof(blasint) == 8, "sizes are 64 bits wide: the ILP64 library is needed");

CBLAS_TRANSPOSE transposition(bool transpose) {
  return transpose ? CblasTrans : CblasNoTrans;
}

template <typename T>
struct Operands {
  T alpha;
  const T* a;
  const T* b;
  T beta;
  T* c;
};

// y = alpha * op(matrix) x + beta * y; the matrix has rows by columns in memory.
template <typename T>
struct VectorProduct {
  CBLAS_TRANSPOSE transpose;
  int64_t rows;
  int64_t columns;
  const T* matrix;
  int64_t ld;
  const T* x;
  int64_t x_stride;
  int64_t y_stride;
};

template <typename T>
VectorProduct<T> as_vector_product(const GemmShape& s, const Operands<T>& p) {
  if (s.m == 1) { // c^T = op(b)^T op(a)^T
    const int64_t rows = s.transpose_b ? s.n : s.k;
    const int64_t columns = s.transpose_b ? s.k : s.n;
    const int64_t x_stride = s.transpose_a ? s.lda : 1;
    return {transposition(!s.transpose_b), rows, columns, p.b, s.ldb, p.a, x_stride, 1};
  }
  const int64_t rows = s.transpose_a ? s.k : s.m;
  const int64_t columns = s.transpose_a ? s.m : s.k;
  const int64_t x_stride = s.transpose_b ? 1 : s.ldb;
  return {transposition(s.transpose_a), rows, columns, p.a, s.lda, p.b, x_stride, s.ldc};
}

// The library's functions under two overloaded names. Complex scalars are passed by address.
#define NARROWS_BLAS_TYPE(T, gemm_function, gemv_function, SCALAR)       \
  void matrix_product(const GemmShape& s, const Operands<T>& p) {        \
    gemm_function(                                                       \
        CblasRowMajor,                                                   \
        transposition(s.transpose_a),                                    \
        transposition(s.transpose_b),                                    \
        s.m,                                                             \
        s.n,                                                             \
        s.k,                                                             \
        SCALAR(p.alpha),                                                 \
        p.a,                                                             \
        s.lda,                                                           \
        p.b,                                                             \
        s.ldb,                                                           \
        SCALAR(p.beta),                                                  \
        p.c,                                                             \
        s.ldc);                                                          \
  }                                                                      \
  void vector_product(const VectorProduct<T>& v, const Operands<T>& p) { \
    gemv_function(                                                       \
        CblasRowMajor,                                                   \
        v.transpose,                                                     \
        v.rows,                                                          \
        v.columns,                                                       \
        SCALAR(p.alpha),                                                 \
        v.matrix,                                                        \
        v.ld,                                                            \
        v.x,                                                             \
        v.x_stride,                                                      \
        SCALAR(p.beta),                                                  \
        p.c,                                                             \
        v.y_stride);                                                     \
  }
#define NARROWS_BY_VALUE(x) (x)
#define NARROWS_BY_ADDRESS(x) (&(x))
NARROWS_BLAS_TYPE(float, scipy_cblas_sgemm64_, scipy_cblas_sgemv64_, NARROWS_BY_VALUE)
NARROWS_BLAS_TYPE(double, scipy_cblas_dgemm64_, scipy_cblas_dgemv64_, NARROWS_BY_VALUE)
NARROWS_BLAS_TYPE(complex64_t, scipy_cblas_cgemm64_, scipy_cblas_cgemv64_, NARROWS_BY_ADDRESS)
#undef NARROWS_BLAS_TYPE
#undef NARROWS_BY_VALUE
#undef NARROWS_BY_ADDRESS

template <typename T>
void multiply_as(
    const GemmShape& s, float alpha, const void* a, const void* b, float beta, void* c) {
  const Operands<T> p{
      T(alpha), static_cast<const T*>(a), static_cast<const T*>(b), T(beta), static_cast<T*>(c)};
  if (s.m != 1 && s.n != 1) {
    matrix_product(s, p);
    return;
  }
  const VectorProduct<T> v = as_vector_product(s, p);
  if (beta == 0) {
    // A vector product may scale c instead of overwriting it, which would keep a NaN.
    for (int64_t i = 0; i < s.m * s.n; ++i) {
      p.c[i * v.y_stride] = T{};
    }
  }
  vector_product(v, p);
}

} // namespace

void use_calling_thread_only() {
  static const bool once = [] {
    scipy_openblas_set_num_threads64_(1);
    return true;
  }();
  static_cast<void>(once);
}

void multiply(
    Dtype dtype,
    const GemmShape& shape,
    float alpha,
    const void* a,
    const void* b,
    float beta,
    void* c) {
  use_calling_thread_only();
  switch (dtype) {
    case Dtype::float32:
      return multiply_as<float>(shape, alpha, a, b, beta, c);
    case Dtype::float64:
      return multiply_as<double>(shape, alpha, a, b, beta, c);
    case Dtype::complex64:
      return multiply_as<complex64_t>(shape, alpha, a, b, beta, c);
    default:
      fail<TypeError>("[matmul] There is no product of ", name_of(dtype), " arrays.");
  }
}

} // namespace narrows::cpu::openblas
