// Eigenvalues and eigenvectors.
//
// The derivatives of Hermitian matrices are those of M. Seeger and others, "Auto-differentiating
// linear algebra" (2017). Those of others, with different eigenvalues, follow from A v = v diag(w),
// as M. Giles has it in "Collected matrix derivative results" (2008), and from how LAPACK scales
// vectors.
#include "narrows/ops/indexing.h"
#include "narrows/ops/linalg.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/matrix_operation.h"
#include "narrows/ops/reduce.h"

namespace narrows::linalg {
namespace {

struct HermitianFields {
  bool upper_;

  static constexpr std::tuple fields{field("upper", &HermitianFields::upper_)};
};

class Eigh final : public MatrixOperation<HermitianFields> {
 public:
  using MatrixOperation::MatrixOperation;

  const char* name() const override {
    return "eigh";
  }
  KernelId kernel(Dtype in, Dtype) const override {
    return to_two(MatrixToTwoOp::eigh, in, in);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array& v = op.outputs[1];
    const array da = hermitian_part(tangents[0], s);
    const array inside = matmul(matmul(adjoint(v, s), da, s), v, s);
    const array dv = matmul(v, multiply(differences(op.outputs[0], s), inside, s), s);
    return {astype(diagonal_of(inside, s), op.outputs[0].dtype(), s), dv};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& v = op.outputs[1];
    array sum;
    if (cotangents[0]) {
      sum = matmul(scaled_columns(v, cotangents[0], s), adjoint(v, s), s);
    }
    if (cotangents[1]) {
      const array turned =
          multiply(differences(op.outputs[0], s), matmul(adjoint(v, s), cotangents[1], s), s);
      const array part = matmul(matmul(v, turned, s), adjoint(v, s), s);
      sum = sum ? add(sum, part, s) : part;
    }
    return {hermitian_part(sum, s)};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.upper = upper_;
  }

 private:
  // 1 / (w_j - w_i), 0 for equal values.
  static array differences(const array& values, StreamOrDevice s) {
    return reciprocal_or_zero(subtract(as_row(values, s), as_column(values, s), s), s);
  }
};

class Eigvalsh final : public MatrixOperation<HermitianFields> {
 public:
  using MatrixOperation::MatrixOperation;

  const char* name() const override {
    return "eigvalsh";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_one(MatrixToOneOp::eigvalsh, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array v = eigh(op.inputs[0], upper_, s)[1];
    const array da = hermitian_part(tangents[0], s);
    const array inside = matmul(matmul(adjoint(v, s), da, s), v, s);
    return {astype(diagonal_of(inside, s), op.outputs[0].dtype(), s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array v = eigh(op.inputs[0], upper_, s)[1];
    return {matmul(scaled_columns(v, cotangents[0], s), adjoint(v, s), s)};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.upper = upper_;
  }
};

// What the rules of eigenvectors share: A v = v diag(values), with columns of norm 1 of which one
// element, the largest, is real, as LAPACK returns them.
class EigRules {
 public:
  EigRules(const array& values, const array& v, Stream s) : s_(s), v_(v) {
    f_ = reciprocal_or_zero(subtract(as_row(values, s), as_column(values, s), s), s);
    const array is_real = equal(imag(v, s), number(0, float32), s);
    const array sizes = where(is_real, abs(v, s), number(-1, float32), s);
    largest_ = argmax(sizes, -2, true, s);
  }

  // The change of the vectors, where v^-1 dA v is `inside`.
  array forward(const array& inside) const {
    const array dv = matmul(v_, multiply(f_, inside, s_), s_);
    const array lengths = real(sum(multiply(conjugated(v_, s_), dv, s_), Axes{-2}, true, s_), s_);
    const array phases =
        divide(imag(take_along_axis(dv, largest_, -2, s_), s_), largest_element(), s_);
    const array i = array(make_scalar(complex64_t(0, 1), complex64));
    return subtract(dv, multiply(v_, add(lengths, multiply(i, phases, s_), s_), s_), s_);
  }

  // The cotangent of v^-1 dA v for that of the vectors.
  array backward(const array& g) const {
    const array along = sum(multiply(conjugated(v_, s_), g, s_), Axes{-2}, true, s_);
    const array i = array(make_scalar(complex64_t(0, 1), complex64));
    const array phases = multiply(i, divide(imag(along, s_), largest_element(), s_), s_);
    const array of_largest = where(is_largest(), phases, number(0, complex64), s_);
    const array rest = subtract(g, multiply(v_, real(along, s_), s_), s_);
    const array turned = matmul(adjoint(v_, s_), subtract(rest, of_largest, s_), s_);
    return multiply(conjugated(f_, s_), turned, s_);
  }

 private:
  array largest_element() const {
    return real(take_along_axis(v_, largest_, -2, s_), s_);
  }
  array is_largest() const {
    const array rows = arange(int64_t{0}, v_.shape(-2), int64_t{1}, uint32, s_);
    return equal(as_column(rows, s_), largest_, s_);
  }

  Stream s_;
  array v_;
  array f_; // 1 / (w_j - w_i), 0 for equal values
  array largest_;
};

// v^-1 dA v.
array change_inside(const array& da, const array& v, Stream s) {
  return solve(v, matmul(astype(da, complex64, s), v, s), s);
}
// The cotangent of A, of its dtype, for that of v^-1 A v.
array around(const array& inside, const array& v, Dtype dtype, Stream s) {
  const array adjoint_v = adjoint(v, s);
  return astype(solve(adjoint_v, matmul(inside, adjoint_v, s), s), dtype, s);
}

class Eig final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "eig";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_two(MatrixToTwoOp::eig, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const array& v = op.outputs[1];
    const array inside = change_inside(tangents[0], v, s);
    return {diagonal_of(inside, s), EigRules(op.outputs[0], v, s).forward(inside)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& v = op.outputs[1];
    array inside;
    if (cotangents[0]) {
      inside = as_diagonal(cotangents[0], s);
    }
    if (cotangents[1]) {
      const array turned = EigRules(op.outputs[0], v, s).backward(cotangents[1]);
      inside = inside ? add(inside, turned, s) : turned;
    }
    return {around(inside, v, op.inputs[0].dtype(), s)};
  }
  static array as_diagonal(const array& values, StreamOrDevice s) {
    return multiply(
        eye(values.shape(-1), values.shape(-1), 0, values.dtype(), s), as_row(values, s), s);
  }
};

// The vectors that the rules need come in the order of the values, whose iteration is the same.
class Eigvals final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "eigvals";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_one(MatrixToOneOp::eigvals, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    return {diagonal_of(change_inside(tangents[0], eig(op.inputs[0], s)[1], s), s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& a = op.inputs[0];
    return {around(Eig::as_diagonal(cotangents[0], s), eig(a, s)[1], a.dtype(), s)};
  }
};

} // namespace

std::vector<array> eigh(const array& a, bool upper, StreamOrDevice s) {
  require_matrices("eigh", a, true);
  return record(
      std::make_shared<Eigh>(upper),
      s.stream(),
      {{with_last(a.shape(), 1, {}), real_dtype(a.dtype())}, spec_of(a)},
      {{a}});
}

array eigvalsh(const array& a, bool upper, StreamOrDevice s) {
  require_matrices("eigvalsh", a, true);
  return record(
      std::make_shared<Eigvalsh>(upper),
      s.stream(),
      with_last(a.shape(), 1, {}),
      real_dtype(a.dtype()),
      {{a}});
}

std::vector<array> eig(const array& a, StreamOrDevice s) {
  require_matrices("eig", a, true);
  return record(
      std::make_shared<Eig>(),
      s.stream(),
      {{with_last(a.shape(), 1, {}), complex64}, {a.shape(), complex64}},
      {{a}});
}

array eigvals(const array& a, StreamOrDevice s) {
  require_matrices("eigvals", a, true);
  return record(
      std::make_shared<Eigvals>(), s.stream(), with_last(a.shape(), 1, {}), complex64, {{a}});
}

namespace {

const RecordRow<HermitianFields> kEigh(
    "eigh", [](const OperationCall& call, const HermitianFields& f) {
      return eigh(call.inputs[0], f.upper_, call.stream);
    });
const RecordRow<HermitianFields> kEigvalsh("eigvalsh", &eigvalsh);
const OperationRow kEig("eig", 1, [](const OperationCall& call) {
  return eig(call.inputs[0], call.stream);
});
const RecordRow<NoFields> kEigvals("eigvals", &eigvals);

} // namespace

} // namespace narrows::linalg
