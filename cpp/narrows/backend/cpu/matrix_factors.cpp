// Computations by elimination: Cholesky, LU and QR factors, determinants, solutions.
#include <complex>
#include <limits>
#include <numeric>

#include "narrows/backend/cpu/matrix_factors.h"

namespace narrows::cpu {
namespace {

// A row-major matrix is read as the transposed one by LAPACK.
template <typename T>
class Cholesky {
 public:
  Cholesky(Pieces&, const MatrixParams& p) : n_(p.n), upper_(p.upper != 0) {
  }
  void run(void* const* operands, int64_t i) const {
    const T* a = matrix_at<T>(operands, 0, i, n_ * n_);
    T* out = matrix_at<T>(operands, 1, i, n_ * n_);
    std::copy_n(a, n_ * n_, out);
    // l^T is the upper factor of conj(a) = a^T, which LAPACK sees.
    if (const int64_t info = lapack::potrf(upper_ ? 'L' : 'U', n_, out)) {
      fail<ValueError>(
          "[linalg.cholesky] the leading ",
          info,
          " rows and columns of a matrix are not positive definite.");
    }
    for (int64_t row = 0; row < n_; ++row) {
      upper_ ? std::fill_n(out + row * n_, row, T())
             : std::fill_n(out + row * n_ + row + 1, n_ - row - 1, T());
    }
  }

 private:
  int64_t n_;
  bool upper_;
};

// Eliminates a copy of a square matrix. Whether it is transposed does not matter to determinants.
template <typename T>
class Eliminated {
 public:
  Eliminated(Pieces& pieces, const MatrixParams& p)
      : n_(p.n), a_(pieces.take<T>(n_ * n_)), pivots_(pieces.take<int64_t>(n_)) {
  }
  // Whether the matrix is regular, as far as elimination shows.
  bool eliminate(const T* a) {
    std::copy_n(a, n_ * n_, a_);
    return n_ == 0 || lapack::getrf(n_, n_, a_, pivots_) == 0;
  }
  bool swaps_are_odd() const {
    bool odd = false;
    for (int64_t i = 0; i < n_; ++i) {
      odd ^= pivots_[i] != i + 1;
    }
    return odd;
  }
  int64_t n() const {
    return n_;
  }
  const T* factors() const {
    return a_;
  }
  T diagonal(int64_t i) const {
    return a_[i * n_ + i];
  }
  int64_t pivot(int64_t i) const {
    return pivots_[i] - 1;
  }

 private:
  int64_t n_;
  T* a_;
  int64_t* pivots_;
};

template <typename T>
struct Wide {
  using Type = double;
};
template <>
struct Wide<complex64_t> {
  using Type = std::complex<double>;
};

template <typename T>
class Det : Eliminated<T> {
 public:
  using Eliminated<T>::Eliminated;

  void run(void* const* operands, int64_t i) {
    typename Wide<T>::Type product = 0;
    if (this->eliminate(matrix_at<T>(operands, 0, i, this->n() * this->n()))) {
      product = this->swaps_are_odd() ? -1 : 1;
      for (int64_t k = 0; k < this->n(); ++k) {
        product *= typename Wide<T>::Type(this->diagonal(k));
      }
    }
    *matrix_at<T>(operands, 1, i, 1) = T(product);
  }
};

template <typename T>
class Slogdet : Eliminated<T> {
 public:
  using Eliminated<T>::Eliminated;

  void run(void* const* operands, int64_t i) {
    T sign = 0;
    double log = -std::numeric_limits<double>::infinity();
    if (this->eliminate(matrix_at<T>(operands, 0, i, this->n() * this->n()))) {
      sign = this->swaps_are_odd() ? -1 : 1;
      log = 0;
      for (int64_t k = 0; k < this->n(); ++k) {
        const T value = this->diagonal(k);
        const auto magnitude = std::abs(value);
        sign *= value / magnitude;
        log += std::log(static_cast<double>(magnitude));
      }
    }
    *matrix_at<T>(operands, 1, i, 1) = sign;
    *matrix_at<lapack::Real<T>>(operands, 2, i, 1) = static_cast<lapack::Real<T>>(log);
  }
};

// Eliminates a matrix of any shape. LAPACK's rows are the rows of the matrix here.
template <typename T>
class EliminatedRows {
 public:
  EliminatedRows(Pieces& pieces, const MatrixParams& p)
      : m_(p.m),
        n_(p.n),
        k_(std::min(m_, n_)),
        a_(pieces.take<T>(m_ * n_)),
        pivots_(pieces.take<int64_t>(k_)) {
  }

 protected:
  // A singular matrix has factors, too.
  void eliminate(const T* a) const {
    if (k_ > 0) {
      transpose_matrix(a, m_, n_, a_);
      lapack::getrf(m_, n_, a_, pivots_);
    }
  }

  int64_t m_;
  int64_t n_;
  int64_t k_;
  T* a_; // column-major
  int64_t* pivots_;
};

template <typename T>
class LuFactor : EliminatedRows<T> {
 public:
  using EliminatedRows<T>::EliminatedRows;

  void run(void* const* operands, int64_t i) const {
    const int64_t size = this->m_ * this->n_;
    this->eliminate(matrix_at<T>(operands, 0, i, size));
    transpose_matrix(this->a_, this->n_, this->m_, matrix_at<T>(operands, 1, i, size));
    uint32_t* pivots = matrix_at<uint32_t>(operands, 2, i, this->k_);
    std::transform(this->pivots_, this->pivots_ + this->k_, pivots, [](int64_t p) {
      return static_cast<uint32_t>(p - 1);
    });
  }
};

// Operands: a, the order of the rows, l and u.
template <typename T>
class Lu : EliminatedRows<T> {
 public:
  Lu(Pieces& pieces, const MatrixParams& p)
      : EliminatedRows<T>(pieces, p), order_(pieces.take<uint32_t>(p.m)) {
  }
  void run(void* const* operands, int64_t i) const {
    const int64_t m = this->m_;
    const int64_t n = this->n_;
    const int64_t k = this->k_;
    this->eliminate(matrix_at<T>(operands, 0, i, m * n));
    uint32_t* rows = matrix_at<uint32_t>(operands, 1, i, m);
    std::iota(order_, order_ + m, 0u);
    for (int64_t row = 0; row < k; ++row) {
      std::swap(order_[row], order_[this->pivots_[row] - 1]);
    }
    for (int64_t row = 0; row < m; ++row) { // the inverse permutation
      rows[order_[row]] = static_cast<uint32_t>(row);
    }
    T* l = matrix_at<T>(operands, 2, i, m * k);
    T* u = matrix_at<T>(operands, 3, i, k * n);
    for (int64_t row = 0; row < m; ++row) {
      for (int64_t column = 0; column < k; ++column) {
        l[row * k + column] = column < row ? this->a_[column * m + row] : T(column == row ? 1 : 0);
      }
    }
    for (int64_t row = 0; row < k; ++row) {
      for (int64_t column = 0; column < n; ++column) {
        u[row * n + column] = column < row ? T() : this->a_[column * m + row];
      }
    }
  }

 private:
  uint32_t* order_; // of the rows of a, after the swaps
};

template <typename T>
class Qr {
 public:
  Qr(Pieces& pieces, const MatrixParams& p)
      : m_(p.m),
        n_(p.n),
        k_(std::min(m_, n_)),
        lwork_(wanted()),
        a_(pieces.take<T>(m_ * n_)),
        tau_(pieces.take<T>(k_)),
        work_(pieces.take<T>(lwork_)) {
  }
  void run(void* const* operands, int64_t i) const {
    if (k_ == 0) {
      return;
    }
    transpose_matrix(matrix_at<T>(operands, 0, i, m_ * n_), m_, n_, a_);
    lapack::geqrf(m_, n_, a_, tau_, work_, lwork_);
    T* r = matrix_at<T>(operands, 2, i, k_ * n_);
    for (int64_t row = 0; row < k_; ++row) {
      for (int64_t column = 0; column < n_; ++column) {
        r[row * n_ + column] = column < row ? T() : a_[column * m_ + row];
      }
    }
    lapack::orgqr(m_, k_, a_, tau_, work_, lwork_);
    transpose_matrix(a_, k_, m_, matrix_at<T>(operands, 1, i, m_ * k_));
  }

 private:
  int64_t wanted() const {
    if (k_ == 0) {
      return 1;
    }
    T first, second, none{};
    lapack::geqrf(m_, n_, &none, &none, &first, -1);
    lapack::orgqr(m_, k_, &none, &none, &second, -1);
    return std::max(work_count(first), work_count(second));
  }

  int64_t m_;
  int64_t n_;
  int64_t k_;
  int64_t lwork_;
  T* a_;
  T* tau_;
  T* work_;
};

// A copy of the right-hand sides, which becomes the solution.
template <typename T>
T* right_sides(void* const* operands, int64_t i, int64_t size) {
  T* out = matrix_at<T>(operands, 2, i, size);
  std::copy_n(matrix_at<T>(operands, 1, i, size), size, out);
  return out;
}

template <typename T>
class Solve : Eliminated<T> {
 public:
  Solve(Pieces& pieces, const MatrixParams& p) : Eliminated<T>(pieces, p), columns_(p.columns) {
  }
  // LAPACK sees a^T, whose factors are p l u, and b^T: x^T p l u = b^T.
  void run(void* const* operands, int64_t i) {
    const int64_t n = this->n();
    if (!this->eliminate(matrix_at<T>(operands, 0, i, n * n))) {
      fail<ValueError>("[linalg.solve] a matrix is singular, expected one that has an inverse.");
    }
    T* x = right_sides<T>(operands, i, n * columns_);
    if (n == 0 || columns_ == 0) {
      return;
    }
    lapack::trsm('R', 'U', 'N', 'N', columns_, n, this->factors(), x);
    lapack::trsm('R', 'L', 'N', 'U', columns_, n, this->factors(), x);
    for (int64_t row = n - 1; row >= 0; --row) {
      if (const int64_t other = this->pivot(row); other != row) {
        std::swap_ranges(x + row * columns_, x + (row + 1) * columns_, x + other * columns_);
      }
    }
  }

 private:
  int64_t columns_;
};

template <typename T>
class SolveTriangular {
 public:
  SolveTriangular(Pieces&, const MatrixParams& p)
      : n_(p.n), columns_(p.columns), upper_(p.upper != 0) {
  }
  void run(void* const* operands, int64_t i) const {
    const T* a = matrix_at<T>(operands, 0, i, n_ * n_);
    for (int64_t k = 0; k < n_; ++k) {
      if (a[k * n_ + k] == T()) {
        fail<ValueError>("[linalg.solve_triangular] element (", k, ", ", k, ") of a matrix is 0.");
      }
    }
    T* x = right_sides<T>(operands, i, n_ * columns_);
    if (n_ > 0 && columns_ > 0) { // x^T a^T = b^T
      lapack::trsm('R', upper_ ? 'L' : 'U', 'N', 'N', columns_, n_, a, x);
    }
  }

 private:
  int64_t n_;
  int64_t columns_;
  bool upper_;
};

template <template <typename> typename Op>
constexpr MatrixCall kCall = {
    [](Dtype dtype, const MatrixParams& p, void* const* operands, void* scratch) {
      with_matrix_type(dtype, [&](auto t) { run_matrices<Op<decltype(t)>>(p, operands, scratch); });
    },
    [](Dtype dtype, const MatrixParams& p) {
      return with_matrix_type(dtype, [&](auto t) { return matrix_scratch<Op<decltype(t)>>(p); });
    }};

} // namespace

const MatrixCall kCholesky = kCall<Cholesky>;
const MatrixCall kDet = kCall<Det>;
const MatrixCall kSlogdet = kCall<Slogdet>;
const MatrixCall kLuFactor = kCall<LuFactor>;
const MatrixCall kLu = kCall<Lu>;
const MatrixCall kQr = kCall<Qr>;
const MatrixCall kSolve = kCall<Solve>;
const MatrixCall kSolveTriangular = kCall<SolveTriangular>;

} // namespace narrows::cpu
