#include "narrows/ops/matmul.h"

#include <algorithm>
#include <array>

#include "metal_kernels/matmul.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/checks.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/recorded_as.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/ops/view.h"
#include "narrows/plan/placement.h"
#include "narrows/record/work.h"
#include "narrows/run/encode.h"
#include "narrows/run/walk_parts.h"

namespace narrows {
namespace {

// How a matrix lies in memory: row-major or transposed, and the distance of its rows.
struct MatrixForm {
  bool transposed;
  int64_t ld;
};

std::optional<MatrixForm> matrix_form(
    int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  const int64_t row = std::max<int64_t>(1, columns);
  const int64_t column = std::max<int64_t>(1, rows);
  if ((columns <= 1 || column_stride == 1) && (rows <= 1 || row_stride >= row)) {
    return MatrixForm{false, rows <= 1 ? row : row_stride};
  }
  if ((rows <= 1 || row_stride == 1) && (columns <= 1 || column_stride >= column)) {
    return MatrixForm{true, columns <= 1 ? column : column_stride};
  }
  return std::nullopt;
}

// One factor as a stack of matrices.
struct Factor {
  int64_t rows, columns;
  int64_t row_stride, column_stride;
  Shape batch;
  Strides batch_strides;

  // A vector is a row on the left and a column on the right.
  Factor(const Shape& shape, const Strides& strides, bool left) {
    const size_t ndim = shape.size();
    if (ndim == 1) {
      rows = left ? 1 : shape[0];
      columns = left ? shape[0] : 1;
      row_stride = left ? shape[0] : strides[0];
      column_stride = left ? strides[0] : 1;
      return;
    }
    rows = shape[ndim - 2];
    columns = shape[ndim - 1];
    row_stride = strides[ndim - 2];
    column_stride = strides[ndim - 1];
    batch = Shape(shape.begin(), shape.end() - 2);
    batch_strides = Strides(strides.begin(), strides.end() - 2);
  }

  std::optional<MatrixForm> form() const {
    return matrix_form(rows, columns, row_stride, column_stride);
  }

  // Whether all matrices of the stack are the same memory.
  bool repeats() const {
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i] != 1 && batch_strides[i] != 0) {
        return false;
      }
    }
    return true;
  }

  // The stack as one tall matrix, where strides express that.
  std::optional<Factor> stacked() const {
    Factor tall = *this;
    tall.batch.clear();
    tall.batch_strides.clear();
    for (size_t i = batch.size(); i-- > 0;) {
      if (batch[i] == 1) {
        continue;
      }
      if (tall.rows == 1) {
        tall.row_stride = batch_strides[i];
      } else if (batch_strides[i] != tall.rows * tall.row_stride) {
        return std::nullopt;
      }
      tall.rows *= batch[i];
    }
    return tall;
  }
};

// A product in the form that libraries take.
struct Product {
  Factor a;
  Factor b;
  Shape batch;                      // of the result
  std::optional<MatrixForm> a_form; // none: the factor must be packed
  std::optional<MatrixForm> b_form;

  Product(
      const Shape& a_shape,
      const Strides& a_strides,
      const Shape& b_shape,
      const Strides& b_strides)
      : a(a_shape, a_strides, true), b(b_shape, b_strides, false) {
    batch = broadcast_shapes("matmul", a.batch, b.batch);
    // Many rows times one matrix are a single product, if they are all rows of the result.
    if (b.repeats() && element_count(a.batch) == element_count(batch)) {
      const std::optional<Factor> tall = a.stacked();
      if (tall && tall->form()) {
        a = *tall;
        b.batch.clear();
        b.batch_strides.clear();
        batch.clear();
      }
    }
    a_form = a.form();
    b_form = b.form();
  }

  // Calls take(params, operands) for the batch of products: once, or more often if the batch has
  // more dimensions than kernels take.
  template <typename Take>
  void each_call(
      double alpha,
      double beta,
      const std::array<Operand, 3>& operands,
      Dtype dtype,
      const Take& take) const {
    MatmulParams params{};
    params.m = a.rows;
    params.n = b.columns;
    params.k = a.columns;
    params.transpose_a = a_form->transposed;
    params.transpose_b = b_form->transposed;
    params.lda = a_form->ld;
    params.ldb = b_form->ld;
    params.ldc = std::max<int64_t>(1, b.columns);
    params.alpha = static_cast<float>(alpha);
    params.beta = static_cast<float>(beta);
    const Strides a_strides = broadcast_strides(a.batch, a.batch_strides, batch);
    const Strides b_strides = broadcast_strides(b.batch, b.batch_strides, batch);
    Strides c_strides = row_major_strides(batch);
    for (int64_t& stride : c_strides) {
      stride *= params.m * params.n;
    }
    const std::array<const Strides*, 3> strides = {&a_strides, &b_strides, &c_strides};
    const Collapsed walk = collapse(batch, strides.data(), 3);
    const size_t ndim = walk.shape.size();
    const int64_t item_size = size_of(dtype);
    const std::array item_sizes = {item_size, item_size, item_size};
    each_part(walk, operands, item_sizes, [&](size_t first, const auto& moved) {
      params.batch_ndim = static_cast<int64_t>(ndim - first);
      for (size_t d = first; d < ndim; ++d) {
        params.batch_shape[d - first] = walk.shape[d];
        for (size_t k = 0; k < 3; ++k) {
          params.batch_strides[k][d - first] = walk.strides[k * ndim + d];
        }
      }
      take(params, moved);
    });
  }
};

KernelId kernel_of(Dtype dtype) {
  return {KernelFamily::matmul, 0, dtype, dtype};
}

Product product_of(const Placement& placement) {
  return Product(
      placement.input_shape(0),
      placement.input_layout(0).strides,
      placement.input_shape(1),
      placement.input_layout(1).strides);
}

// Packs factors that libraries cannot read, and reserves workspace.
void place_product(Placement& placement, Dtype dtype, double alpha, double beta) {
  const Product as_is = product_of(placement);
  if (!as_is.a_form) {
    placement.pack(0);
  }
  if (!as_is.b_form) {
    placement.pack(1);
  }
  if (element_count(placement.output_shape(0)) > 0 && element_count(placement.input_shape(0)) > 0) {
    placement.workspace_for(kernel_of(dtype), [&](auto&& take) {
      product_of(placement).each_call(
          alpha, beta, {}, dtype, [&](const auto& params, const auto&) { take(params); });
    });
  }
}

void encode_product(Encoder& encoder, const StepView& step, double alpha, double beta) {
  const ArrayView& a = step.inputs[0];
  const ArrayView& b = step.inputs[1];
  const ArrayView& c = step.outputs[0];
  const Product product(*a.shape, a.layout->strides, *b.shape, b.layout->strides);
  const std::array operands = {a.operand(), b.operand(), c.operand()};
  product.each_call(alpha, beta, operands, c.dtype, [&](const auto& params, const auto& places) {
    encoder.run({kernel_of(c.dtype), places, params, step.workspace});
  });
}

array scaled(const array& a, double factor, StreamOrDevice s) {
  return factor == 1 ? a : multiply(a, number(factor, a.dtype()), s);
}

// a @ b, the cotangent of `factor`. Where that is a transpose (x @ w.T), this is the transpose of a
// product, which lies in memory as w does: w's gradient then is read and overwritten as it lies.
array product_like(const array& factor, const array& a, const array& b, StreamOrDevice s) {
  if (is_matrix_transpose(factor)) {
    return matrix_transpose(matmul(matrix_transpose(b, s), matrix_transpose(a, s), s), s);
  }
  return matmul(a, b, s);
}

// The cotangent of b in a @ b. If b was broadcast to many matrices, one product also sums over the
// stack.
array pull_back_right(const array& a, const array& b, const array& g, StreamOrDevice s) {
  if (b.ndim() == 2 && a.ndim() > 2) {
    const array rows = flatten(conjugated(a, s), 0, -2, s);
    return product_like(b, transpose(rows, s), flatten(g, 0, -2, s), s);
  }
  const array product = product_like(b, matrix_transpose(conjugated(a, s), s), g, s);
  return sum_to(product, b.shape(), s);
}

// The cotangents of the factors of a product a @ b with cotangent g.
struct FactorCotangents {
  array a;
  array b;
};
FactorCotangents pull_back_product(
    const Recorded& op, const array& a, const array& b, const array& cotangent) {
  const Stream s = op.stream;
  // Vectors as matrices of one row or one column.
  const array left = a.ndim() == 1 ? expand_dims(a, {0}, s) : a;
  const array right = b.ndim() == 1 ? expand_dims(b, {1}, s) : b;
  array g = cotangent;
  if (b.ndim() == 1) {
    g = expand_dims(g, {-1}, s);
  }
  if (a.ndim() == 1) {
    g = expand_dims(g, {-2}, s);
  }
  FactorCotangents result;
  if (op.wants(0)) {
    const array product = product_like(left, g, matrix_transpose(conjugated(right, s), s), s);
    result.a = reshape(sum_to(product, left.shape(), s), a.shape(), s);
  }
  if (op.wants(1)) {
    result.b = reshape(pull_back_right(left, right, g, s), b.shape(), s);
  }
  return result;
}

// The factors of a batch of products, as stacks of matrices with the batch in front.
array stacked_factor(const array& a, bool batched, bool left, int batch_ndim, StreamOrDevice s) {
  const int entry_ndim = a.ndim() - (batched ? 1 : 0);
  const array matrix = entry_ndim == 1 ? expand_dims(a, {left ? -2 : -1}, s) : a;
  return aligned(matrix, batched, batch_ndim + 2, s);
}

class Matmul final : public Record<>, public TellsFlops {
 public:
  double flops(std::span<const Shape* const> inputs, const Shape& output) const override {
    return product_flops(*inputs[0], output);
  }
  const char* name() const override {
    return "matmul";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return kernel_of(out);
  }
  void place(Placement& placement) const override {
    place_product(placement, placement.output_dtype(0), 1, 0);
    placement.allocate(0);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    if (step.inputs[0].size() == 0) {
      encode_fill(encoder, make_scalar(int64_t{0}, output.dtype), output);
      return;
    }
    encode_product(encoder, step, 1, 0);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    FactorCotangents found = pull_back_product(op, op.inputs[0], op.inputs[1], cotangents[0]);
    return {std::move(found.a), std::move(found.b)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    array sum;
    if (tangents[0]) {
      sum = matmul(tangents[0], op.inputs[1], op.stream);
    }
    if (tangents[1]) {
      const array part = matmul(op.inputs[0], tangents[1], op.stream);
      sum = sum ? add(sum, part, op.stream) : part;
    }
    return {sum};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const int batch_ndim = std::max({op.inputs[0].ndim(), op.inputs[1].ndim(), 2}) - 2;
    const array a = stacked_factor(inputs[0], batched[0], true, batch_ndim, op.stream);
    const array b = stacked_factor(inputs[1], batched[1], false, batch_ndim, op.stream);
    return {reshape(matmul(a, b, op.stream), with_batch(size, op.outputs[0].shape()), op.stream)};
  }
};

// alpha * (a @ b) + beta * c.
array composed(
    const array& a, const array& b, const array& c, double alpha, double beta, StreamOrDevice s) {
  return add(scaled(matmul(a, b, s), alpha, s), scaled(c, beta, s), s);
}

struct AddMMFields {
  double alpha_;
  double beta_;

  static constexpr std::tuple fields{
      field("alpha", &AddMMFields::alpha_), field("beta", &AddMMFields::beta_)};
};

// Inputs a, b and c; c has the output's shape, and k is not zero.
class AddMM final : public Record<AddMMFields>, public TellsFlops {
 public:
  using Record::Record;

  double flops(std::span<const Shape* const> inputs, const Shape& output) const override {
    return product_flops(*inputs[0], output);
  }

  const char* name() const override {
    return "addmm";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return kernel_of(out);
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream stream) const override {
    return {composed(inputs[0], inputs[1], inputs[2], alpha_, beta_, stream)};
  }
  void place(Placement& placement) const override {
    place_product(placement, placement.output_dtype(0), alpha_, beta_);
    const bool is_factor = placement.are_same(2, 0) || placement.are_same(2, 1);
    const bool row_contiguous = placement.input_layout(2).row_contiguous;
    if (is_factor || !row_contiguous || !placement.donate(0, 2)) {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    const bool donated = step.inputs[2].buffer == output.buffer;
    if (!donated && beta_ != 0) {
      encode_copy(encoder, step.inputs[2], output);
    }
    encode_product(encoder, step, alpha_, beta_);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    FactorCotangents found =
        pull_back_product(op, op.inputs[0], op.inputs[1], scaled(g, alpha_, op.stream));
    return {std::move(found.a), std::move(found.b), scaled(g, beta_, op.stream)};
  }
};

// Checks the factors of a product. Returns its shape.
Shape product_shape(const char* op, const array& a, const array& b) {
  if (a.ndim() == 0 || b.ndim() == 0) {
    fail<ValueError>(
        "[",
        op,
        "] arrays of shapes ",
        to_string(a.shape()),
        " and ",
        to_string(b.shape()),
        ", expected at least one dimension each.");
  }
  const int64_t k = a.shape(-1);
  if (k != b.shape(b.ndim() == 1 ? 0 : -2)) {
    fail<ValueError>(
        "[",
        op,
        "] the last dimension of shape ",
        to_string(a.shape()),
        " and the second to last of ",
        to_string(b.shape()),
        " differ, expected the same size.");
  }
  const auto batch_of = [](const Shape& shape) {
    return shape.size() < 2 ? Shape{} : Shape(shape.begin(), shape.end() - 2);
  };
  Shape shape = broadcast_shapes(op, batch_of(a.shape()), batch_of(b.shape()));
  if (a.ndim() > 1) {
    shape.push_back(a.shape(-2));
  }
  if (b.ndim() > 1) {
    shape.push_back(b.shape(-1));
  }
  checked_size(op, shape);
  return shape;
}

} // namespace

array matmul(const array& a, const array& b, StreamOrDevice s) {
  Shape shape = product_shape("matmul", a, b);
  const Dtype dtype = promote(a.dtype(), b.dtype());
  require_inexact("matmul", dtype);
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<Matmul>();
  return record(
      primitive,
      s.stream(),
      std::move(shape),
      dtype,
      std::array{astype(a, dtype, s), astype(b, dtype, s)});
}

array addmm(
    const array& c, const array& a, const array& b, double alpha, double beta, StreamOrDevice s) {
  Shape shape = product_shape("addmm", a, b);
  const Dtype dtype = promote(c.dtype(), promote(a.dtype(), b.dtype()));
  require_inexact("addmm", dtype);
  if (broadcast_shapes("addmm", c.shape(), shape) != shape) {
    fail<ValueError>(
        "[addmm] c of shape ",
        to_string(c.shape()),
        ", expected one that broadcasts to ",
        to_string(shape),
        ".");
  }
  const array addend = broadcast_to(astype(c, dtype, s), shape, s);
  if (a.shape(-1) == 0) {
    return scaled(addend, beta, s);
  }
  // Factors of products are floats. For float64 results they may be too coarse.
  const auto is_exact = [](double factor) { return static_cast<float>(factor) == factor; };
  if (dtype == float64 && !(is_exact(alpha) && is_exact(beta))) {
    return composed(a, b, addend, alpha, beta, s);
  }
  const std::array<array, 3> inputs = {astype(a, dtype, s), astype(b, dtype, s), addend};
  return record(std::make_shared<AddMM>(alpha, beta), s.stream(), std::move(shape), dtype, inputs);
}

namespace {

const RecordRow<NoFields, 2> kMatmul("matmul", &matmul);
const RecordRow<AddMMFields, 3> kAddMM(
    "addmm", [](const OperationCall& call, const AddMMFields& f) {
      return addmm(call.inputs[2], call.inputs[0], call.inputs[1], f.alpha_, f.beta_, call.stream);
    });

} // namespace

} // namespace narrows
