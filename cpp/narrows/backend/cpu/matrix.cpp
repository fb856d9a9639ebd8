// Eigenvalues and singular values, which are computed by iterations, and the rows of all families
// of matrices.
#include "narrows/backend/cpu/matrix_factors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu {
namespace {

template <typename T>
T conjugate_of(T value) {
  return value;
}
complex64_t conjugate_of(complex64_t value) {
  return complex64_t(value.real(), -value.imag());
}

// LAPACK's iterations may never end for a matrix that contains NaN. Results of such matrices are
// NaN.
template <typename T>
void fill_nan(T* values, int64_t count) {
  std::fill_n(values, count, T(std::numeric_limits<float>::quiet_NaN()));
}

// Operands: a, eigenvalues, and vectors if wanted.
template <typename T, bool with_vectors>
class Hermitian {
  using Value = lapack::Real<T>;

 public:
  Hermitian(Pieces& pieces, const MatrixParams& p)
      : n_(p.n), uplo_(p.upper != 0 ? 'L' : 'U'), a_(pieces.take<T>(n_ * n_)) {
    T work{};
    Value real = 0;
    int64_t integer = 0;
    T none{};
    Value value = 0;
    lapack::heevd(kJob, uplo_, n_, &none, &value, &work, -1, {&real, -1, &integer, -1});
    lwork_ = work_count(work);
    more_.real_count = sizeof(T) == sizeof(Value) ? 0 : work_count(real);
    more_.integer_count = std::max<int64_t>(1, integer);
    work_ = pieces.take<T>(lwork_);
    more_.real = pieces.take<Value>(more_.real_count);
    more_.integer = pieces.take<int64_t>(more_.integer_count);
  }
  // LAPACK sees a^T = conj(a), whose vectors are conjugated.
  void run(void* const* operands, int64_t i) const {
    const T* a = matrix_at<T>(operands, 0, i, n_ * n_);
    Value* values = matrix_at<Value>(operands, 1, i, n_);
    T* vectors = with_vectors ? matrix_at<T>(operands, 2, i, n_ * n_) : nullptr;
    if (n_ == 0) {
      return;
    }
    if (!all_finite(a, n_ * n_)) {
      fill_nan(values, n_);
      fill_nan(vectors, with_vectors ? n_ * n_ : 0);
      return;
    }
    std::copy_n(a, n_ * n_, a_);
    require_converged("eigh", lapack::heevd(kJob, uplo_, n_, a_, values, work_, lwork_, more_));
    if constexpr (with_vectors) {
      transpose_matrix(a_, n_, n_, vectors);
      std::transform(
          vectors, vectors + n_ * n_, vectors, [](T value) { return conjugate_of(value); });
    }
  }

 private:
  static constexpr char kJob = with_vectors ? 'V' : 'N';
  int64_t n_;
  char uplo_;
  T* a_;
  T* work_;
  int64_t lwork_;
  lapack::MoreWork<T> more_;
};

// Operands: a, eigenvalues, and vectors if wanted, of complex64.
template <typename T, bool with_vectors>
class General {
  static constexpr bool kIsReal = !std::is_same_v<T, complex64_t>;

 public:
  General(Pieces& pieces, const MatrixParams& p)
      : n_(p.n),
        a_(pieces.take<T>(n_ * n_)),
        values_(pieces.take<T>(2 * n_)),
        vectors_(pieces.take<T>(with_vectors ? n_ * n_ : 1)),
        more_(pieces.take<lapack::Real<T>>(kIsReal ? 0 : 2 * n_)) {
    T work{}, none[2] = {}, vector{};
    lapack::Real<T> more{};
    lapack::geev(kJob, std::max<int64_t>(1, n_), none, none, &vector, &work, -1, &more);
    lwork_ = work_count(work);
    work_ = pieces.take<T>(lwork_);
  }
  void run(void* const* operands, int64_t i) const {
    const T* a = matrix_at<T>(operands, 0, i, n_ * n_);
    complex64_t* values = matrix_at<complex64_t>(operands, 1, i, n_);
    complex64_t* vectors = with_vectors ? matrix_at<complex64_t>(operands, 2, i, n_ * n_) : nullptr;
    if (n_ == 0) {
      return;
    }
    if (!all_finite(a, n_ * n_)) {
      fill_nan(values, n_);
      fill_nan(vectors, with_vectors ? n_ * n_ : 0);
      return;
    }
    transpose_matrix(a, n_, n_, a_);
    require_converged("eig", lapack::geev(kJob, n_, a_, values_, vectors_, work_, lwork_, more_));
    for (int64_t k = 0; k < n_; ++k) {
      values[k] = value(k);
    }
    if constexpr (with_vectors) {
      write_vectors(vectors);
    }
  }

 private:
  complex64_t value(int64_t k) const {
    if constexpr (kIsReal) {
      return complex64_t(static_cast<float>(values_[k]), static_cast<float>(values_[n_ + k]));
    } else {
      return values_[k];
    }
  }
  // LAPACK returns a pair of conjugated vectors of a real matrix in two columns, as real and
  // imaginary parts.
  void write_vectors(complex64_t* to) const {
    for (int64_t k = 0; k < n_; ++k) {
      const T* column = vectors_ + k * n_;
      if constexpr (kIsReal) {
        const bool is_pair = values_[n_ + k] != 0 && k + 1 < n_;
        for (int64_t row = 0; row < n_; ++row) {
          const float real = static_cast<float>(column[row]);
          const float imaginary = is_pair ? static_cast<float>(column[n_ + row]) : 0;
          to[row * n_ + k] = complex64_t(real, imaginary);
          if (is_pair) {
            to[row * n_ + k + 1] = complex64_t(real, -imaginary);
          }
        }
        k += is_pair ? 1 : 0;
      } else {
        for (int64_t row = 0; row < n_; ++row) {
          to[row * n_ + k] = column[row];
        }
      }
    }
  }

  static constexpr char kJob = with_vectors ? 'V' : 'N';
  int64_t n_;
  T* a_;
  T* values_;
  T* vectors_;
  lapack::Real<T>* more_;
  T* work_;
  int64_t lwork_;
};

// Operands: a, then u, s and vt, or s alone. LAPACK sees a^T = vt^T s u^T.
template <typename T, bool with_vectors>
class Svd {
  using Value = lapack::Real<T>;

 public:
  Svd(Pieces& pieces, const MatrixParams& p)
      : m_(p.m),
        n_(p.n),
        k_(std::min(m_, n_)),
        job_(
            !with_vectors ? 'N'
            : p.full      ? 'A'
                          : 'S'),
        a_(pieces.take<T>(m_ * n_)) {
    more_.integer_count = 8 * std::max<int64_t>(1, k_);
    if constexpr (sizeof(T) != sizeof(Value)) {
      const int64_t k = std::max<int64_t>(1, k_);
      const int64_t large = std::max({m_, n_, int64_t{1}});
      more_.real_count = with_vectors ? k * std::max(5 * k + 7, 2 * large + 2 * k + 1) : 7 * k;
    }
    more_.real = pieces.take<Value>(more_.real_count);
    more_.integer = pieces.take<int64_t>(more_.integer_count);
    if (k_ > 0) {
      T work{}, none{};
      Value value = 0;
      lapack::gesdd(job_, n_, m_, &none, &value, &none, &none, ldvt(), &work, -1, more_query());
      lwork_ = work_count(work);
    }
    work_ = pieces.take<T>(lwork_);
  }
  void run(void* const* operands, int64_t i) const {
    const int64_t columns = job_ == 'A' ? m_ : k_;
    const int64_t rows = job_ == 'A' ? n_ : k_;
    const T* a = matrix_at<T>(operands, 0, i, m_ * n_);
    T* u = with_vectors ? matrix_at<T>(operands, 1, i, m_ * columns) : nullptr;
    Value* s = matrix_at<Value>(operands, with_vectors ? 2 : 1, i, k_);
    T* vt = with_vectors ? matrix_at<T>(operands, 3, i, rows * n_) : nullptr;
    if (k_ == 0) {
      fill_identity(u, with_vectors ? m_ : 0, columns);
      fill_identity(vt, with_vectors ? rows : 0, n_);
      return;
    }
    if (!all_finite(a, m_ * n_)) {
      fill_nan(s, k_);
      fill_nan(u, with_vectors ? m_ * columns : 0);
      fill_nan(vt, with_vectors ? rows * n_ : 0);
      return;
    }
    std::copy_n(a, m_ * n_, a_);
    require_converged(
        "svd", lapack::gesdd(job_, n_, m_, a_, s, vt, u, ldvt(), work_, lwork_, more_));
  }

 private:
  // Conjugates LAPACK's second factor, which is u.
  int64_t ldvt() const {
    return job_ == 'A' ? m_ : k_;
  }
  // LAPACK reads only the addresses.
  lapack::MoreWork<T> more_query() {
    return {&query_real_, 1, &query_integer_, 1};
  }
  static void fill_identity(T* to, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows * columns; ++i) {
      to[i] = T(i / columns == i % columns ? 1 : 0);
    }
  }

  int64_t m_;
  int64_t n_;
  int64_t k_;
  char job_;
  T* a_;
  T* work_;
  int64_t lwork_ = 1;
  lapack::MoreWork<T> more_;
  Value query_real_ = 0;
  int64_t query_integer_ = 0;
};

template <template <typename, bool> typename Op, bool with_vectors>
constexpr MatrixCall kCall = {
    [](Dtype dtype, const MatrixParams& p, void* const* operands, void* scratch) {
      with_matrix_type(dtype, [&](auto t) {
        run_matrices<Op<decltype(t), with_vectors>>(p, operands, scratch);
      });
    },
    [](Dtype dtype, const MatrixParams& p) {
      return with_matrix_type(
          dtype, [&](auto t) { return matrix_scratch<Op<decltype(t), with_vectors>>(p); });
    }};

const MatrixCall& to_one(const KernelId& id) {
  switch (static_cast<MatrixToOneOp>(id.op)) {
    case MatrixToOneOp::cholesky:
      return kCholesky;
    case MatrixToOneOp::det:
      return kDet;
    case MatrixToOneOp::eigvals:
      return kCall<General, false>;
    case MatrixToOneOp::eigvalsh:
      return kCall<Hermitian, false>;
    default:
      return kCall<Svd, false>;
  }
}
const MatrixCall& to_two(const KernelId& id) {
  switch (static_cast<MatrixToTwoOp>(id.op)) {
    case MatrixToTwoOp::eig:
      return kCall<General, true>;
    case MatrixToTwoOp::eigh:
      return kCall<Hermitian, true>;
    case MatrixToTwoOp::lu_factor:
      return kLuFactor;
    case MatrixToTwoOp::qr:
      return kQr;
    default:
      return kSlogdet;
  }
}
const MatrixCall& to_three(const KernelId& id) {
  return static_cast<MatrixToThreeOp>(id.op) == MatrixToThreeOp::lu ? kLu : kCall<Svd, true>;
}
const MatrixCall& solving(const KernelId& id) {
  return static_cast<SolveOp>(id.op) == SolveOp::general ? kSolve : kSolveTriangular;
}

// The row of a family whose calls are these.
template <auto call_of>
constexpr Row row_for() {
  return {
      [](const KernelId& id, void* const* operands, const void* params, void* scratch) {
        call_of(id).run(id.in, matrix_params(params), operands, scratch);
      },
      has_matrix_type,
      [](const KernelId& id, std::span<const std::byte> params) {
        return call_of(id).scratch(id.in, matrix_params(params.data()));
      }};
}

} // namespace

const Row matrix_to_one_row = row_for<to_one>();
const Row matrix_to_two_row = row_for<to_two>();
const Row matrix_to_three_row = row_for<to_three>();
const Row solve_row = row_for<solving>();

} // namespace narrows::cpu
