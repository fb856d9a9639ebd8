// LU, QR, singular values, eigenvalues.
//
// The derivatives are those of M. Seeger and others, "Auto-differentiating linear algebra" (2017),
// for QR and Hermitian eigenvalues, and of J. Townsend, "Differentiating the singular value
// decomposition" (2016).
#include "narrows/ops/join.h"
#include "narrows/ops/linalg.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/matrix_operation.h"
#include "narrows/ops/slice.h"

namespace narrows::linalg {
namespace {

KernelId to_one(MatrixToOneOp op, Dtype in, Dtype out) {
  return {KernelFamily::matrix_to_one, static_cast<uint8_t>(op), in, out};
}
KernelId to_two(MatrixToTwoOp op, Dtype in, Dtype out) {
  return {KernelFamily::matrix_to_two, static_cast<uint8_t>(op), in, out};
}

// Columns or rows `begin` to `end` of matrices.
array part(const array& a, int axis, int64_t begin, int64_t end, StreamOrDevice s) {
  Shape starts(static_cast<size_t>(a.ndim()), 0);
  Shape stops = a.shape();
  const size_t at = static_cast<size_t>(a.ndim() + axis);
  starts[at] = begin;
  stops[at] = end;
  return slice(a, starts, stops, Strides(static_cast<size_t>(a.ndim()), 1), s);
}

// u diag(s) v^H: columns of u, scaled.
array scaled_columns(const array& u, const array& values, StreamOrDevice s) {
  return multiply(u, as_row(values, s), s);
}

class LuFactor final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "lu_factor";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_two(MatrixToTwoOp::lu_factor, in, out);
  }
};

class Lu final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "lu";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::matrix_to_three, static_cast<uint8_t>(MatrixToThreeOp::lu), in, out};
  }
};

// The rules hold for matrices with no more columns than rows. Those of other matrices are made of
// these.
class Qr final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "qr";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_two(MatrixToTwoOp::qr, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    require_derivative(op);
    const array& q = op.outputs[0];
    const array& r = op.outputs[1];
    const int64_t k = r.shape(-2);
    const array& da = tangents[0];
    const array r1 = part(r, -1, 0, k, s);
    const array change = over(part(da, -1, 0, k, s), r1, s);
    const array inside = matmul(adjoint(q, s), change, s);
    const array below = tril(inside, -1, s);
    const array turned = subtract(below, adjoint(below, s), s);
    const array dq = add(matmul(q, subtract(turned, inside, s), s), change, s);
    array dr = matmul(subtract(inside, turned, s), r1, s);
    if (r.shape(-1) > k) {
      const array a2 = part(op.inputs[0], -1, k, r.shape(-1), s);
      const array da2 = part(da, -1, k, r.shape(-1), s);
      const array dr2 = add(matmul(adjoint(dq, s), a2, s), matmul(adjoint(q, s), da2, s), s);
      dr = concatenate({dr, dr2}, -1, s);
    }
    return {dq, dr};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    require_derivative(op);
    const std::vector<array> g = filled(cotangents, op.outputs, s);
    const array& q = op.outputs[0];
    const array& r = op.outputs[1];
    const int64_t k = r.shape(-2);
    const int64_t n = r.shape(-1);
    const array r1 = part(r, -1, 0, k, s);
    array gq = g[0];
    array ga2;
    if (n > k) { // r2 = q^H a2
      const array gr2 = part(g[1], -1, k, n, s);
      ga2 = matmul(q, gr2, s);
      gq = add(gq, matmul(part(op.inputs[0], -1, k, n, s), adjoint(gr2, s), s), s);
    }
    const array gr1 = triu(part(g[1], -1, 0, k, s), 0, s);
    const array m = subtract(matmul(r1, adjoint(gr1, s), s), matmul(adjoint(gq, s), q, s), s);
    const array below = tril(m, -1, s);
    const array mirrored = add(add(below, adjoint(below, s), s), only_diagonal(m, s), s);
    const array sum = add(gq, matmul(q, mirrored, s), s);
    // sum r1^-H.
    const array ga1 = adjoint(solve_triangular(r1, adjoint(sum, s), true, s), s);
    return {n > k ? concatenate({ga1, ga2}, -1, s) : ga1};
  }

 private:
  static void require_derivative(const Recorded& op) {
    if (is_complex(op.inputs[0].dtype())) {
      fail<ValueError>("[linalg.qr] complex64 has no derivative, expected float32 or float64.");
    }
  }
  // a r^-1 for an upper triangular r.
  static array over(const array& a, const array& r, StreamOrDevice s) {
    return adjoint(solve_triangular(adjoint(r, s), adjoint(a, s), false, s), s);
  }
};

struct SvdFields {
  bool full_;

  static constexpr std::tuple fields{field("full", &SvdFields::full_)};
};

class Svd final : public MatrixOperation<SvdFields> {
 public:
  using MatrixOperation::MatrixOperation;

  const char* name() const override {
    return "svd";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::matrix_to_three, static_cast<uint8_t>(MatrixToThreeOp::svd), in, out};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    require_derivative(op);
    const array& u = op.outputs[0];
    const array& values = op.outputs[1];
    const array& vt = op.outputs[2];
    const array v = adjoint(vt, s);
    const array& da = tangents[0];
    const array inside = matmul(matmul(adjoint(u, s), da, s), v, s);
    const array f = differences(values, s);
    const array right = multiply(inside, as_row(values, s), s);   // u^H da v s
    const array left = multiply(as_column(values, s), inside, s); // s u^H da v
    const array du_in = multiply(f, add(right, adjoint(right, s), s), s);
    const array dv_in = multiply(f, add(left, adjoint(left, s), s), s);
    array du = matmul(u, du_in, s);
    array dv = matmul(v, dv_in, s);
    const array inverse = reciprocal_or_zero(values, s);
    const array across = matmul(da, v, s);
    const array along = matmul(adjoint(da, s), u, s);
    du = add(du, scaled_columns(outside(u, across, s), inverse, s), s);
    dv = add(dv, scaled_columns(outside(v, along, s), inverse, s), s);
    return {du, diagonal_of(inside, s), adjoint(dv, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const bool only_values = !cotangents[0] && !cotangents[2];
    if (only_values) {
      const std::vector<array> thin =
          full_ ? svd(op.inputs[0], false, s)
                : std::vector<array>(op.outputs.begin(), op.outputs.end());
      return {matmul(scaled_columns(thin[0], cotangents[1], s), thin[2], s)};
    }
    require_derivative(op);
    const std::vector<array> g = filled(cotangents, op.outputs, s);
    const array& u = op.outputs[0];
    const array& values = op.outputs[1];
    const array& vt = op.outputs[2];
    const array v = adjoint(vt, s);
    const array gv = adjoint(g[2], s);
    const array f = differences(values, s);
    const array inverse = reciprocal_or_zero(values, s);
    const array turned_u = multiply(f, skew(matmul(adjoint(u, s), g[0], s), s), s);
    const array turned_v = multiply(f, skew(matmul(vt, gv, s), s), s);
    const array inside = add(
        multiply(turned_u, as_row(values, s), s), multiply(as_column(values, s), turned_v, s), s);
    array result = matmul(matmul(u, inside, s), vt, s);
    result = add(result, matmul(scaled_columns(u, g[1], s), vt, s), s);
    const array of_u = scaled_columns(outside(u, g[0], s), inverse, s);
    const array of_v = scaled_columns(outside(v, gv, s), inverse, s);
    result = add(result, matmul(of_u, vt, s), s);
    return {add(result, matmul(u, adjoint(of_v, s), s), s)};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.full = full_;
  }

 private:
  void require_derivative(const Recorded& op) const {
    const array& a = op.inputs[0];
    if (is_complex(a.dtype()) || (full_ && a.shape(-1) != a.shape(-2))) {
      fail<ValueError>(
          "[linalg.svd] ",
          name_of(a.dtype()),
          " matrices of shape ",
          to_string(a.shape()),
          ": u and vt have a derivative for square real matrices, expected these, or that only the "
          "singular values are used.");
    }
  }
  // 1 / (s_j^2 - s_i^2), 0 for equal values.
  static array differences(const array& values, StreamOrDevice s) {
    const array row = as_row(values, s);
    const array column = as_column(values, s);
    const array product = multiply(subtract(row, column, s), add(row, column, s), s);
    return reciprocal_or_zero(product, s);
  }
  static array skew(const array& a, StreamOrDevice s) {
    return subtract(a, adjoint(a, s), s);
  }
  // The part of the columns of `a` that is orthogonal to those of `u`.
  static array outside(const array& u, const array& a, StreamOrDevice s) {
    return subtract(a, matmul(u, matmul(adjoint(u, s), a, s), s), s);
  }
};

class SingularValues final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "singular_values";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_one(MatrixToOneOp::svd, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const std::vector<array> thin = svd(op.inputs[0], false, s);
    const array inside =
        matmul(matmul(adjoint(thin[0], s), tangents[0], s), adjoint(thin[2], s), s);
    return {astype(diagonal_of(inside, s), op.outputs[0].dtype(), s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const std::vector<array> thin = svd(op.inputs[0], false, s);
    return {matmul(scaled_columns(thin[0], cotangents[0], s), thin[2], s)};
  }
};

struct HermitianFields {
  bool upper_;

  static constexpr std::tuple fields{field("upper", &HermitianFields::upper_)};
};

array hermitian_part(const array& a, StreamOrDevice s) {
  return multiply(number(0.5, a.dtype()), add(a, adjoint(a, s), s), s);
}

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

class Eig final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "eig";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_two(MatrixToTwoOp::eig, in, out);
  }
};

class Eigvals final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "eigvals";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_one(MatrixToOneOp::eigvals, in, out);
  }
};

void require(const char* op, const array& a, bool is_square) {
  is_square ? require_square(op, a) : require_matrix(op, a);
  require_matrix_dtype(op, a.dtype());
}

int64_t smaller_side(const array& a) {
  return std::min(a.shape(-1), a.shape(-2));
}

} // namespace

std::vector<array> lu_factor(const array& a, StreamOrDevice s) {
  require("lu_factor", a, false);
  return record(
      std::make_shared<LuFactor>(),
      s.stream(),
      {spec_of(a), {with_last(a.shape(), 2, {smaller_side(a)}), uint32}},
      {{a}});
}

std::vector<array> lu(const array& a, StreamOrDevice s) {
  require("lu", a, false);
  const int64_t m = a.shape(-2);
  const int64_t n = a.shape(-1);
  const int64_t k = std::min(m, n);
  return record(
      std::make_shared<Lu>(),
      s.stream(),
      {{with_last(a.shape(), 2, {m}), uint32},
       {with_last(a.shape(), 2, {m, k}), a.dtype()},
       {with_last(a.shape(), 2, {k, n}), a.dtype()}},
      {{a}});
}

std::vector<array> qr(const array& a, StreamOrDevice s) {
  require("qr", a, false);
  const int64_t k = smaller_side(a);
  return record(
      std::make_shared<Qr>(),
      s.stream(),
      {{with_last(a.shape(), 1, {k}), a.dtype()},
       {with_last(a.shape(), 2, {k, a.shape(-1)}), a.dtype()}},
      {{a}});
}

std::vector<array> svd(const array& a, bool full, StreamOrDevice s) {
  require("svd", a, false);
  const int64_t k = smaller_side(a);
  const int64_t m = a.shape(-2);
  const int64_t n = a.shape(-1);
  return record(
      std::make_shared<Svd>(full),
      s.stream(),
      {{with_last(a.shape(), 2, {m, full ? m : k}), a.dtype()},
       {with_last(a.shape(), 2, {k}), real_dtype(a.dtype())},
       {with_last(a.shape(), 2, {full ? n : k, n}), a.dtype()}},
      {{a}});
}

array singular_values(const array& a, StreamOrDevice s) {
  require("svd", a, false);
  const Shape shape = with_last(a.shape(), 2, {smaller_side(a)});
  return record(
      std::make_shared<SingularValues>(), s.stream(), shape, real_dtype(a.dtype()), {{a}});
}

std::vector<array> eigh(const array& a, bool upper, StreamOrDevice s) {
  require("eigh", a, true);
  return record(
      std::make_shared<Eigh>(upper),
      s.stream(),
      {{with_last(a.shape(), 1, {}), real_dtype(a.dtype())}, spec_of(a)},
      {{a}});
}

array eigvalsh(const array& a, bool upper, StreamOrDevice s) {
  require("eigvalsh", a, true);
  return record(
      std::make_shared<Eigvalsh>(upper),
      s.stream(),
      with_last(a.shape(), 1, {}),
      real_dtype(a.dtype()),
      {{a}});
}

std::vector<array> eig(const array& a, StreamOrDevice s) {
  require("eig", a, true);
  return record(
      std::make_shared<Eig>(),
      s.stream(),
      {{with_last(a.shape(), 1, {}), complex64}, {a.shape(), complex64}},
      {{a}});
}

array eigvals(const array& a, StreamOrDevice s) {
  require("eigvals", a, true);
  return record(
      std::make_shared<Eigvals>(), s.stream(), with_last(a.shape(), 1, {}), complex64, {{a}});
}

namespace {

const OperationRow kLuFactor("lu_factor", 1, [](const OperationCall& call) {
  return lu_factor(call.inputs[0], call.stream);
});
const OperationRow kLu("lu", 1, [](const OperationCall& call) {
  return lu(call.inputs[0], call.stream);
});
const OperationRow kQr("qr", 1, [](const OperationCall& call) {
  return qr(call.inputs[0], call.stream);
});
const RecordRow<SvdFields> kSvd("svd", [](const OperationCall& call, const SvdFields& f) {
  return svd(call.inputs[0], f.full_, call.stream);
});
const RecordRow<NoFields> kSingularValues("singular_values", &singular_values);
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
