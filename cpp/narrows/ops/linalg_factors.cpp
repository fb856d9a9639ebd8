// LU, QR, singular values.
//
// The derivatives are those of M. Seeger and others, "Auto-differentiating linear algebra" (2017),
// for QR, and of J. Townsend, "Differentiating the singular value decomposition" (2016). Those of
// complex matrices follow from them: R keeps a real diagonal, and the phases that U and V share
// stay.
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/linalg.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/matrix_operation.h"
#include "narrows/ops/sort.h"

namespace narrows::linalg {
namespace {

// a r^-1 and a r^-H, for an upper triangular r.
array over(const array& a, const array& r, StreamOrDevice s) {
  return adjoint(solve_triangular(adjoint(r, s), adjoint(a, s), false, s), s);
}
array over_adjoint(const array& a, const array& r, StreamOrDevice s) {
  return adjoint(solve_triangular(r, adjoint(a, s), true, s), s);
}

// How l and u change with a matrix a = l[rows] u whose rows stay in their order. Its first k rows
// and columns in that order are l1 u1; there are further rows, or further columns, or neither.
class LuRules {
 public:
  LuRules(std::span<const array> lu, Stream s)
      : s_(s), rows_(lu[0]), l_(lu[1]), u_(lu[2]), m_(l_.shape(-2)), n_(u_.shape(-1)) {
    k_ = l_.shape(-1);
    l1_ = part(l_, -2, 0, k_, s_);
    u1_ = part(u_, -1, 0, k_, s_);
  }

  // The changes of l and u.
  std::vector<array> forward(const array& da) const {
    const array moved = take_along_axis(da, as_column(argsort(rows_, -1, s_), s_), -2, s_);
    const array columns = over(part(moved, -1, 0, k_, s_), u1_, s_);
    const array inside = solve_triangular(l1_, part(columns, -2, 0, k_, s_), false, s_);
    const array below = tril(inside, -1, s_);
    const array above = triu(inside, 0, s_);
    array dl = matmul(l1_, below, s_);
    array du = matmul(above, u1_, s_);
    if (m_ > k_) {
      const array l2 = part(l_, -2, k_, m_, s_);
      const array dl2 = subtract(part(columns, -2, k_, m_, s_), matmul(l2, above, s_), s_);
      dl = concatenate({dl, dl2}, -2, s_);
    }
    if (n_ > k_) {
      const array u2 = part(u_, -1, k_, n_, s_);
      const array rows = solve_triangular(l1_, part(moved, -1, k_, n_, s_), false, s_);
      du = concatenate({du, subtract(rows, matmul(below, u2, s_), s_)}, -1, s_);
    }
    return {dl, du};
  }

  // The cotangent of the matrix, for those of l and u.
  array backward(const array& gl, const array& gu) const {
    array below = matmul(adjoint(l1_, s_), part(gl, -2, 0, k_, s_), s_);
    array above = matmul(part(gu, -1, 0, k_, s_), adjoint(u1_, s_), s_);
    if (m_ > k_) {
      const array l2 = part(l_, -2, k_, m_, s_);
      const array gl2 = part(gl, -2, k_, m_, s_);
      above = subtract(above, matmul(adjoint(l2, s_), gl2, s_), s_);
    }
    if (n_ > k_) {
      const array u2 = part(u_, -1, k_, n_, s_);
      const array gu2 = part(gu, -1, k_, n_, s_);
      below = subtract(below, matmul(gu2, adjoint(u2, s_), s_), s_);
    }
    const array inside = add(tril(below, -1, s_), triu(above, 0, s_), s_);
    array moved = solve_triangular(adjoint(l1_, s_), inside, true, s_);
    if (m_ > k_) {
      moved = concatenate({moved, part(gl, -2, k_, m_, s_)}, -2, s_);
    }
    moved = over_adjoint(moved, u1_, s_);
    if (n_ > k_) {
      const array rows = solve_triangular(adjoint(l1_, s_), part(gu, -1, k_, n_, s_), true, s_);
      moved = concatenate({moved, rows}, -1, s_);
    }
    return take_along_axis(moved, as_column(rows_, s_), -2, s_);
  }

 private:
  Stream s_;
  array rows_;
  array l_;
  array u_;
  array l1_;
  array u1_;
  int64_t m_;
  int64_t n_;
  int64_t k_ = 0;
};

// The rules factor once more, for the order of the rows.
class LuFactor final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "lu_factor";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_two(MatrixToTwoOp::lu_factor, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const std::vector<array> d = LuRules(lu(op.inputs[0], s), s).forward(tangents[0]);
    const Shape& shape = op.inputs[0].shape();
    return {add(padded(d[0], shape, s), padded(d[1], shape, s), s), array()};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& g = cotangents[0];
    if (!g) { // only pivots are used
      return {array()};
    }
    const int64_t k = op.outputs[1].shape(-1);
    const array gl = part(tril(g, -1, s), -1, 0, k, s);
    const array gu = part(triu(g, 0, s), -2, 0, k, s);
    return {LuRules(lu(op.inputs[0], s), s).backward(gl, gu)};
  }

 private:
  // With zeros behind its rows or columns.
  static array padded(const array& a, const Shape& shape, StreamOrDevice s) {
    for (const int axis : {-2, -1}) {
      const int64_t missing = shape[static_cast<size_t>(a.ndim() + axis)] - a.shape(axis);
      if (missing > 0) {
        Shape rest = a.shape();
        rest[static_cast<size_t>(a.ndim() + axis)] = missing;
        return concatenate({a, zeros(rest, a.dtype(), s)}, axis, s);
      }
    }
    return a;
  }
};

class Lu final : public MatrixOperation<> {
 public:
  const char* name() const override {
    return "lu";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return to_three(MatrixToThreeOp::lu, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const std::vector<array> d = LuRules(op.outputs, op.stream).forward(tangents[0]);
    return {array(), d[0], d[1]};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    if (!cotangents[1] && !cotangents[2]) { // only rows are used
      return {array()};
    }
    const std::vector<array> g = filled(cotangents.subspan(1), op.outputs.subspan(1), op.stream);
    return {LuRules(op.outputs, op.stream).backward(g[0], g[1])};
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
    const array& q = op.outputs[0];
    const array& r = op.outputs[1];
    const int64_t k = r.shape(-2);
    const array& da = tangents[0];
    const array r1 = part(r, -1, 0, k, s);
    const array change = over(part(da, -1, 0, k, s), r1, s);
    const array inside = matmul(adjoint(q, s), change, s);
    const array below = tril(inside, -1, s);
    array turned = subtract(below, adjoint(below, s), s); // q^H dq
    if (is_complex(da.dtype())) {
      const array diagonal = only_diagonal(inside, s);
      turned = add(turned, subtract(diagonal, hermitian_part(diagonal, s), s), s);
    }
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
    const array diagonal = only_diagonal(m, s);
    const array mirrored =
        add(add(below, adjoint(below, s), s),
            is_complex(m.dtype()) ? hermitian_part(diagonal, s) : diagonal,
            s);
    const array ga1 = over_adjoint(add(gq, matmul(q, mirrored, s), s), r1, s);
    return {n > k ? concatenate({ga1, ga2}, -1, s) : ga1};
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
    return to_three(MatrixToThreeOp::svd, in, out);
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const auto [u, values, v] = first_vectors(op);
    const array& da = tangents[0];
    const array inside = matmul(matmul(adjoint(u, s), da, s), v, s);
    const array f = differences(values, s);
    const array inverse = reciprocal_or_zero(values, s);
    const array right = multiply(inside, as_row(values, s), s);   // u^H da v s
    const array left = multiply(as_column(values, s), inside, s); // s u^H da v
    array du_in = multiply(f, add(right, adjoint(right, s), s), s);
    array dv_in = multiply(f, add(left, adjoint(left, s), s), s);
    if (is_complex(da.dtype())) {
      const array phases = quarter_of_phases(skew(inside, s), inverse, s);
      du_in = add(du_in, phases, s);
      dv_in = subtract(dv_in, phases, s);
    }
    const array across = scaled_columns(outside(u, matmul(da, v, s), s), inverse, s);
    const array along = scaled_columns(outside(v, matmul(adjoint(da, s), u, s), s), inverse, s);
    const array du = with_further(op.outputs[0], u, add(matmul(u, du_in, s), across, s), s);
    const array all_v = adjoint(op.outputs[2], s);
    const array dv = with_further(all_v, v, add(matmul(v, dv_in, s), along, s), s);
    return {du, astype(diagonal_of(inside, s), values.dtype(), s), adjoint(dv, s)};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    if (!cotangents[0] && !cotangents[2]) { // fewer vectors do
      const std::vector<array> thin =
          full_ ? svd(op.inputs[0], false, s)
                : std::vector<array>(op.outputs.begin(), op.outputs.end());
      return {matmul(scaled_columns(thin[0], cotangents[1], s), thin[2], s)};
    }
    const std::vector<array> g = filled(cotangents, op.outputs, s);
    const auto [u, values, v] = first_vectors(op);
    const array gu = of_first(op.outputs[0], u, g[0], s);
    const array gv = of_first(adjoint(op.outputs[2], s), v, adjoint(g[2], s), s);
    const array vt = adjoint(v, s);
    const array f = differences(values, s);
    const array inverse = reciprocal_or_zero(values, s);
    const array skew_u = skew(matmul(adjoint(u, s), gu, s), s);
    const array skew_v = skew(matmul(vt, gv, s), s);
    array inside =
        add(multiply(multiply(f, skew_u, s), as_row(values, s), s),
            multiply(as_column(values, s), multiply(f, skew_v, s), s),
            s);
    if (is_complex(inside.dtype())) {
      inside = add(inside, quarter_of_phases(subtract(skew_u, skew_v, s), inverse, s), s);
    }
    array result = matmul(matmul(u, inside, s), vt, s);
    result = add(result, matmul(scaled_columns(u, g[1], s), vt, s), s);
    const array of_u = scaled_columns(outside(u, gu, s), inverse, s);
    const array of_v = scaled_columns(outside(v, gv, s), inverse, s);
    result = add(result, matmul(of_u, vt, s), s);
    return {add(result, matmul(u, adjoint(of_v, s), s), s)};
  }

 protected:
  void set(MatrixParams& params) const override {
    params.full = full_;
  }

 private:
  struct Vectors {
    array u;
    array values;
    array v;
  };
  // Those that belong to singular values, as columns.
  static Vectors first_vectors(const Recorded& op) {
    const Stream s = op.stream;
    const array& values = op.outputs[1];
    const int64_t k = values.shape(-1);
    return {part(op.outputs[0], -1, 0, k, s), values, adjoint(part(op.outputs[2], -2, 0, k, s), s)};
  }
  // The further columns of `all` stay orthogonal to the first ones, and do not turn among each
  // other: their change behind that of the first, `change`.
  static array with_further(
      const array& all, const array& first, const array& change, StreamOrDevice s) {
    const int64_t k = first.shape(-1);
    if (all.shape(-1) == k) {
      return change;
    }
    const array further = part(all, -1, k, all.shape(-1), s);
    const array turned = matmul(first, matmul(adjoint(change, s), further, s), s);
    return concatenate({change, negative(turned, s)}, -1, s);
  }
  // The cotangent of the first columns for that of all.
  static array of_first(const array& all, const array& first, const array& g, StreamOrDevice s) {
    const int64_t k = first.shape(-1);
    if (all.shape(-1) == k) {
      return g;
    }
    const array further = part(all, -1, k, all.shape(-1), s);
    const array turned = matmul(adjoint(part(g, -1, k, all.shape(-1), s), s), first, s);
    return subtract(part(g, -1, 0, k, s), matmul(further, turned, s), s);
  }
  // How the phases of u and v turn against each other, a half of it for each of them: i Im(x) / 2s
  // on the diagonal, of x - x^H.
  static array quarter_of_phases(const array& skew, const array& inverse, StreamOrDevice s) {
    const array diagonal = scaled_columns(only_diagonal(skew, s), inverse, s);
    return multiply(number(0.25, skew.dtype()), diagonal, s);
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

int64_t smaller_side(const array& a) {
  return std::min(a.shape(-1), a.shape(-2));
}

} // namespace

std::vector<array> lu_factor(const array& a, StreamOrDevice s) {
  require_matrices("lu_factor", a, false);
  return record(
      std::make_shared<LuFactor>(),
      s.stream(),
      {spec_of(a), {with_last(a.shape(), 2, {smaller_side(a)}), uint32}},
      {{a}});
}

std::vector<array> lu(const array& a, StreamOrDevice s) {
  require_matrices("lu", a, false);
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
  require_matrices("qr", a, false);
  const int64_t k = smaller_side(a);
  return record(
      std::make_shared<Qr>(),
      s.stream(),
      {{with_last(a.shape(), 1, {k}), a.dtype()},
       {with_last(a.shape(), 2, {k, a.shape(-1)}), a.dtype()}},
      {{a}});
}

std::vector<array> svd(const array& a, bool full, StreamOrDevice s) {
  require_matrices("svd", a, false);
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
  require_matrices("svd", a, false);
  const Shape shape = with_last(a.shape(), 2, {smaller_side(a)});
  return record(
      std::make_shared<SingularValues>(), s.stream(), shape, real_dtype(a.dtype()), {{a}});
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

} // namespace

} // namespace narrows::linalg
