// LAPACK's functions, of OpenBLAS, under overloaded names. Matrices are column-major. Each function
// returns LAPACK's `info`. If `lwork` is -1, it writes the needed number of elements to work[0].
#pragma once

#include <complex>
#include <cstdint>

#include "narrows/core/half.h"

#define NARROWS_LAPACK_TYPE(letter, T, qr_name)                                              \
  void scipy_##letter##potrf_64_(                                                            \
      const char*, const int64_t*, T*, const int64_t*, int64_t*, size_t);                    \
  void scipy_##letter##getrf_64_(                                                            \
      const int64_t*, const int64_t*, T*, const int64_t*, int64_t*, int64_t*);               \
  void scipy_##letter##geqrf_64_(                                                            \
      const int64_t*, const int64_t*, T*, const int64_t*, T*, T*, const int64_t*, int64_t*); \
  void scipy_##letter##qr_name##_64_(                                                        \
      const int64_t*,                                                                        \
      const int64_t*,                                                                        \
      const int64_t*,                                                                        \
      T*,                                                                                    \
      const int64_t*,                                                                        \
      const T*,                                                                              \
      T*,                                                                                    \
      const int64_t*,                                                                        \
      int64_t*);                                                                             \
  void scipy_##letter##trsm_64_(                                                             \
      const char*,                                                                           \
      const char*,                                                                           \
      const char*,                                                                           \
      const char*,                                                                           \
      const int64_t*,                                                                        \
      const int64_t*,                                                                        \
      const T*,                                                                              \
      const T*,                                                                              \
      const int64_t*,                                                                        \
      T*,                                                                                    \
      const int64_t*,                                                                        \
      size_t,                                                                                \
      size_t,                                                                                \
      size_t,                                                                                \
      size_t);

#define NARROWS_LAPACK_REAL(letter, T)  \
  NARROWS_LAPACK_TYPE(letter, T, orgqr) \
  void scipy_##letter##gesdd_64_(       \
      const char*,                      \
      const int64_t*,                   \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      int64_t*,                         \
      int64_t*,                         \
      size_t);                          \
  void scipy_##letter##syevd_64_(       \
      const char*,                      \
      const char*,                      \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      T*,                               \
      const int64_t*,                   \
      int64_t*,                         \
      const int64_t*,                   \
      int64_t*,                         \
      size_t,                           \
      size_t);                          \
  void scipy_##letter##geev_64_(        \
      const char*,                      \
      const char*,                      \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      T*,                               \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      T*,                               \
      const int64_t*,                   \
      int64_t*,                         \
      size_t,                           \
      size_t);

extern "C" {
NARROWS_LAPACK_REAL(s, float)
NARROWS_LAPACK_REAL(d, double)
NARROWS_LAPACK_TYPE(c, narrows::complex64_t, ungqr)
void scipy_cgesdd_64_(
    const char*,
    const int64_t*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    float*,
    narrows::complex64_t*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    float*,
    int64_t*,
    int64_t*,
    size_t);
void scipy_cheevd_64_(
    const char*,
    const char*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    float*,
    narrows::complex64_t*,
    const int64_t*,
    float*,
    const int64_t*,
    int64_t*,
    const int64_t*,
    int64_t*,
    size_t,
    size_t);
void scipy_cgeev_64_(
    const char*,
    const char*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    narrows::complex64_t*,
    narrows::complex64_t*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    narrows::complex64_t*,
    const int64_t*,
    float*,
    int64_t*,
    size_t,
    size_t);
}

namespace narrows::cpu::lapack {

template <typename T>
struct RealOf {
  using Type = T;
};
template <>
struct RealOf<complex64_t> {
  using Type = float;
};
// The type of absolute values: of singular values, and of eigenvalues of Hermitian matrices.
template <typename T>
using Real = typename RealOf<T>::Type;

// Further work arrays, of types other than the matrix's.
template <typename T>
struct MoreWork {
  Real<T>* real = nullptr;
  int64_t real_count = 0;
  int64_t* integer = nullptr;
  int64_t integer_count = 0;
};

#define NARROWS_LAPACK_TYPE_FUNCTIONS(letter, T, qr_name)                                    \
  inline int64_t potrf(char uplo, int64_t n, T* a) {                                         \
    int64_t info = 0;                                                                        \
    scipy_##letter##potrf_64_(&uplo, &n, a, &n, &info, 1);                                   \
    return info;                                                                             \
  }                                                                                          \
  inline int64_t getrf(int64_t m, int64_t n, T* a, int64_t* pivots) {                        \
    int64_t info = 0;                                                                        \
    scipy_##letter##getrf_64_(&m, &n, a, &m, pivots, &info);                                 \
    return info;                                                                             \
  }                                                                                          \
  inline int64_t geqrf(int64_t m, int64_t n, T* a, T* tau, T* work, int64_t lwork) {         \
    int64_t info = 0;                                                                        \
    scipy_##letter##geqrf_64_(&m, &n, a, &m, tau, work, &lwork, &info);                      \
    return info;                                                                             \
  }                                                                                          \
  inline int64_t orgqr(int64_t m, int64_t k, T* a, const T* tau, T* work, int64_t lwork) {   \
    int64_t info = 0;                                                                        \
    scipy_##letter##qr_name##_64_(&m, &k, &k, a, &m, tau, work, &lwork, &info);              \
    return info;                                                                             \
  }                                                                                          \
  /* b (m, n) becomes x with x a = b (side R) or a x = b (side L). */                        \
  inline void trsm(                                                                          \
      char side, char uplo, char trans, char diag, int64_t m, int64_t n, const T* a, T* b) { \
    const T one(1);                                                                          \
    const int64_t lda = side == 'L' ? m : n;                                                 \
    scipy_##letter##trsm_64_(                                                                \
        &side, &uplo, &trans, &diag, &m, &n, &one, a, &lda, b, &m, 1, 1, 1, 1);              \
  }

#define NARROWS_LAPACK_REAL_FUNCTIONS(letter, T)                                                  \
  NARROWS_LAPACK_TYPE_FUNCTIONS(letter, T, orgqr)                                                 \
  inline int64_t gesdd(                                                                           \
      char job,                                                                                   \
      int64_t m,                                                                                  \
      int64_t n,                                                                                  \
      T* a,                                                                                       \
      T* s,                                                                                       \
      T* u,                                                                                       \
      T* vt,                                                                                      \
      int64_t ldvt,                                                                               \
      T* work,                                                                                    \
      int64_t lwork,                                                                              \
      const MoreWork<T>& more) {                                                                  \
    int64_t info = 0;                                                                             \
    scipy_##letter##gesdd_64_(                                                                    \
        &job, &m, &n, a, &m, s, u, &m, vt, &ldvt, work, &lwork, more.integer, &info, 1);          \
    return info;                                                                                  \
  }                                                                                               \
  inline int64_t heevd(                                                                           \
      char job,                                                                                   \
      char uplo,                                                                                  \
      int64_t n,                                                                                  \
      T* a,                                                                                       \
      T* w,                                                                                       \
      T* work,                                                                                    \
      int64_t lwork,                                                                              \
      const MoreWork<T>& more) {                                                                  \
    int64_t info = 0;                                                                             \
    scipy_##letter##syevd_64_(                                                                    \
        &job, &uplo, &n, a, &n, w, work, &lwork, more.integer, &more.integer_count, &info, 1, 1); \
    return info;                                                                                  \
  }                                                                                               \
  /* w has the real parts of n eigenvalues, then the imaginary ones. */                           \
  inline int64_t geev(char job, int64_t n, T* a, T* w, T* v, T* work, int64_t lwork, T*) {        \
    const char none = 'N';                                                                        \
    const int64_t ldvl = 1;                                                                       \
    int64_t info = 0;                                                                             \
    scipy_##letter##geev_64_(                                                                     \
        &none, &job, &n, a, &n, w, w + n, nullptr, &ldvl, v, &n, work, &lwork, &info, 1, 1);      \
    return info;                                                                                  \
  }

NARROWS_LAPACK_REAL_FUNCTIONS(s, float)
NARROWS_LAPACK_REAL_FUNCTIONS(d, double)
NARROWS_LAPACK_TYPE_FUNCTIONS(c, complex64_t, ungqr)

inline int64_t gesdd(
    char job,
    int64_t m,
    int64_t n,
    complex64_t* a,
    float* s,
    complex64_t* u,
    complex64_t* vt,
    int64_t ldvt,
    complex64_t* work,
    int64_t lwork,
    const MoreWork<complex64_t>& more) {
  int64_t info = 0;
  scipy_cgesdd_64_(
      &job, &m, &n, a, &m, s, u, &m, vt, &ldvt, work, &lwork, more.real, more.integer, &info, 1);
  return info;
}
inline int64_t heevd(
    char job,
    char uplo,
    int64_t n,
    complex64_t* a,
    float* w,
    complex64_t* work,
    int64_t lwork,
    const MoreWork<complex64_t>& more) {
  int64_t info = 0;
  scipy_cheevd_64_(
      &job,
      &uplo,
      &n,
      a,
      &n,
      w,
      work,
      &lwork,
      more.real,
      &more.real_count,
      more.integer,
      &more.integer_count,
      &info,
      1,
      1);
  return info;
}
inline int64_t geev(
    char job,
    int64_t n,
    complex64_t* a,
    complex64_t* w,
    complex64_t* v,
    complex64_t* work,
    int64_t lwork,
    float* more) {
  const char none = 'N';
  const int64_t ldvl = 1;
  int64_t info = 0;
  scipy_cgeev_64_(
      &none, &job, &n, a, &n, w, nullptr, &ldvl, v, &n, work, &lwork, more, &info, 1, 1);
  return info;
}

#undef NARROWS_LAPACK_TYPE
#undef NARROWS_LAPACK_REAL
#undef NARROWS_LAPACK_TYPE_FUNCTIONS
#undef NARROWS_LAPACK_REAL_FUNCTIONS

} // namespace narrows::cpu::lapack
