// Cholesky factors, solutions of equations, determinants.
//
// The derivatives are those of I. Murray, "Differentiation of the Cholesky decomposition" (2016),
// and of M. Giles, "An extended collection of matrix derivative results" (2008).
#include "narrows/ops/linalg.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/matrix_operation.h"
#include "narrows/ops/reduce.h"

namespace narrows::linalg {
namespace {

// The lower triangle with half of the diagonal.
array lower_half(const array& a, StreamOrDevice s) {
  const array half = number(0.5, a.dtype());
  return subtract(tril(a, 0, s), multiply(half, only_diagonal(a, s), s), s);
}

array hermitian_part(const array& a, StreamOrDevice s) {
  return multiply(number(0.5, a.dtype()), add(a, adjoint(a, s), s), s);
}

struct CholeskyFields {
  bool upper_;

  static constexpr std::tuple fields{field("upper", &CholeskyFields::upper_)};
};

class Cholesky final : public MatrixOperation<CholeskyFields> {
 public:
  using MatrixOperation::MatrixOperation;

  const char* name() const override {
    return "cholesky";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::matrix_to_one, static_cast<uint8_t>(MatrixToOneOp::cholesky), in, out};
  }
  // dl = l phi(l^-1 da l^-H), where phi is lower_half().
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array l = lower(op.outputs[0], s);
    const array half = solve_triangular(l, hermitian_part(tangents[0], s), false, s);
    const array both = adjoint(solve_triangular(l, adjoint(half, s), false, s), s);
    const array dl = matmul(l, lower_half(both, s), s);
    return {upper_ ? adjoint(dl, s) : dl};
  }
  // a' = l^-H phi(l^H l') l^-1, made Hermitian.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array l = lower(op.outputs[0], s);
    const array lh = adjoint(l, s);
    const array g = lower(cotangents[0], s);
    const array half = lower_half(matmul(lh, tril(g, 0, s), s), s);
    const array left = solve_triangular(lh, half, true, s);
    const array both = adjoint(solve_triangular(lh, adjoint(left, s), true, s), s);
    return {hermitian_part(both, s)};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.upper = upper_;
  }

 private:
  array lower(const array& factor, StreamOrDevice s) const {
    return upper_ ? adjoint(factor, s) : factor;
  }
};

class Solve final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "solve";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::solve, static_cast<uint8_t>(SolveOp::general), in, out};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array moved = tangents[0] ? negative(matmul(tangents[0], op.outputs[0], s), s) : array();
    const array right = !moved ? tangents[1] : !tangents[1] ? moved : add(tangents[1], moved, s);
    return {solve(op.inputs[0], right, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array b = solve(adjoint(op.inputs[0], s), cotangents[0], s);
    array a;
    if (op.wants(0)) {
      a = negative(matmul(b, adjoint(op.outputs[0], s), s), s);
    }
    return {a, b};
  }
};

struct TriangularFields {
  bool upper_;

  static constexpr std::tuple fields{field("upper", &TriangularFields::upper_)};
};

class SolveTriangular final : public MatrixOperation<TriangularFields> {
 public:
  using MatrixOperation::MatrixOperation;

  const char* name() const override {
    return "solve_triangular";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::solve, static_cast<uint8_t>(SolveOp::triangular), in, out};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array moved =
        tangents[0] ? negative(matmul(triangle(tangents[0], s), op.outputs[0], s), s) : array();
    const array right = !moved ? tangents[1] : !tangents[1] ? moved : add(tangents[1], moved, s);
    return {solve_triangular(op.inputs[0], right, upper_, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array b = solve_triangular(adjoint(op.inputs[0], s), cotangents[0], !upper_, s);
    array a;
    if (op.wants(0)) {
      a = triangle(negative(matmul(b, adjoint(op.outputs[0], s), s), s), s);
    }
    return {a, b};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.upper = upper_;
  }

 private:
  array triangle(const array& a, StreamOrDevice s) const {
    return upper_ ? triu(a, 0, s) : tril(a, 0, s);
  }
};

// The trace of a^-1 b.
array trace_of_quotient(const array& a, const array& b, StreamOrDevice s) {
  return sum(diagonal_of(solve(a, b, s), s), Axes{-1}, false, s);
}

class Det final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "det";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::matrix_to_one, static_cast<uint8_t>(MatrixToOneOp::det), in, out};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const array change = trace_of_quotient(op.inputs[0], tangents[0], op.stream);
    return {multiply(op.outputs[0], change, op.stream)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array g = multiply(cotangents[0], conjugated(op.outputs[0], s), s);
    return {multiply(as_factor(g, s), adjoint(inv(op.inputs[0], s), s), s)};
  }
};

class Slogdet final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "slogdet";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::matrix_to_two, static_cast<uint8_t>(MatrixToTwoOp::slogdet), in, out};
  }
  // With t = trace(a^-1 da), the logarithm changes by the real part of t, and the angle by its
  // imaginary part.
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array change = trace_of_quotient(op.inputs[0], tangents[0], s);
    if (!is_complex(change.dtype())) {
      return {array(), change};
    }
    const array turned = multiply(op.outputs[0], imaginary(imag(change, s), s), s);
    return {turned, real(change, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const std::vector<array> g = filled(cotangents, op.outputs, s);
    array factor = g[1];
    if (is_complex(op.inputs[0].dtype())) {
      const array turned = multiply(conjugated(op.outputs[0], s), g[0], s);
      factor = add(g[1], imaginary(imag(turned, s), s), s);
    }
    return {multiply(as_factor(factor, s), adjoint(inv(op.inputs[0], s), s), s)};
  }

 private:
  // i * x.
  static array imaginary(const array& x, StreamOrDevice s) {
    return multiply(x, array(Scalar::of(complex64_t(0, 1), complex64)), s);
  }
};

array record_solution(
    std::shared_ptr<const Primitive> primitive, const array& a, const array& b, StreamOrDevice s) {
  const char* op = primitive->name();
  require_square(op, a);
  if (b.ndim() == 0 || a.shape(-1) != b.shape(b.ndim() == 1 ? 0 : -2)) {
    fail<ValueError>(
        "[linalg.",
        op,
        "] matrices of shape ",
        to_string(a.shape()),
        " and right sides of shape ",
        to_string(b.shape()),
        ", expected (..., n, n), and (n,) or (..., n, k).");
  }
  const Dtype dtype = promote(a.dtype(), b.dtype());
  require_matrix_dtype(op, dtype);
  const bool is_vector = b.ndim() == 1;
  const array right = astype(is_vector ? as_column(b, s) : b, dtype, s);
  const Shape batch =
      broadcast_shapes(op, with_last(a.shape(), 2, {}), with_last(right.shape(), 2, {}));
  const int64_t n = a.shape(-1);
  const Shape shape = with_last(batch, 0, {n, right.shape(-1)});
  const array inputs[] = {
      broadcast_to(astype(a, dtype, s), with_last(batch, 0, {n, n}), s),
      broadcast_to(right, shape, s)};
  const array x = record(std::move(primitive), s.stream(), shape, dtype, inputs);
  return is_vector ? squeeze(x, {-1}, s) : x;
}

// The matrix that a determinant is computed of: float32 for integers and 16-bit numbers.
array for_determinant(const char* op, const array& a, StreamOrDevice s) {
  require_square(op, a);
  const Dtype dtype = at_least_float(a.dtype());
  return astype(a, is_half(dtype) ? float32 : dtype, s);
}

} // namespace

array cholesky(const array& a, bool upper, StreamOrDevice s) {
  require_square("cholesky", a);
  require_matrix_dtype("cholesky", a.dtype());
  return record(std::make_shared<Cholesky>(upper), s.stream(), a.shape(), a.dtype(), {{a}});
}

array cholesky_inv(const array& a, bool upper, StreamOrDevice s) {
  require_square("cholesky_inv", a);
  require_matrix_dtype("cholesky_inv", a.dtype());
  const array inverse = tri_inv(a, upper, s);
  return upper ? matmul(inverse, adjoint(inverse, s), s) : matmul(adjoint(inverse, s), inverse, s);
}

array solve(const array& a, const array& b, StreamOrDevice s) {
  return record_solution(std::make_shared<Solve>(), a, b, s);
}

array solve_triangular(const array& a, const array& b, bool upper, StreamOrDevice s) {
  return record_solution(std::make_shared<SolveTriangular>(upper), a, b, s);
}

array inv(const array& a, StreamOrDevice s) {
  require_square("inv", a);
  require_matrix_dtype("inv", a.dtype());
  return solve(a, eye(a.shape(-1), a.shape(-1), 0, a.dtype(), s), s);
}

array tri_inv(const array& a, bool upper, StreamOrDevice s) {
  require_square("tri_inv", a);
  require_matrix_dtype("tri_inv", a.dtype());
  return solve_triangular(a, eye(a.shape(-1), a.shape(-1), 0, a.dtype(), s), upper, s);
}

array det(const array& a, StreamOrDevice s) {
  const array matrix = for_determinant("det", a, s);
  const array result = record(
      std::make_shared<Det>(), s.stream(), with_last(a.shape(), 2, {}), matrix.dtype(), {{matrix}});
  return astype(result, at_least_float(a.dtype()), s);
}

std::vector<array> slogdet(const array& a, StreamOrDevice s) {
  const array matrix = for_determinant("slogdet", a, s);
  const Shape shape = with_last(a.shape(), 2, {});
  const std::vector<array> results = record(
      std::make_shared<Slogdet>(),
      s.stream(),
      {{shape, matrix.dtype()}, {shape, real_dtype(matrix.dtype())}},
      {{matrix}});
  const Dtype dtype = at_least_float(a.dtype());
  return {astype(results[0], dtype, s), astype(results[1], real_dtype(dtype), s)};
}

namespace {

const RecordRow<CholeskyFields> kCholesky("cholesky", &cholesky);
const RecordRow<NoFields, 2> kSolve("solve", &solve);
const RecordRow<TriangularFields, 2> kSolveTriangular("solve_triangular", &solve_triangular);
const RecordRow<NoFields> kDet("det", &det);
const OperationRow kSlogdet("slogdet", 1, [](const OperationCall& call) {
  return slogdet(call.inputs[0], call.stream);
});

} // namespace

} // namespace narrows::linalg
