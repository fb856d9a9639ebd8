#include "narrows/ops/gated_delta.h"

#include <algorithm>
#include <array>
#include <vector>

#include "metal_kernels/gated_delta.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"

namespace narrows {
namespace {

constexpr const char* kName = "gated_delta_update";
// The most times in a chunk, where the operation is made of others. A power of 2.
constexpr int64_t kChunk = 32;

Dtype precise(Dtype dtype) {
  return dtype == float64 ? float64 : float32;
}

// The inputs of the operation.
struct Sizes {
  int64_t batch, length, key_heads, heads, key_size, value_size;

  Sizes(const Shape& query, const Shape& value)
      : batch(query[0]),
        length(query[1]),
        key_heads(query[2]),
        heads(value[2]),
        key_size(query[3]),
        value_size(value[3]) {
  }
  int64_t shared() const {
    return heads / std::max<int64_t>(1, key_heads);
  }
  Shape state() const {
    return {batch, heads, value_size, key_size};
  }
  GatedDeltaParams params() const {
    GatedDeltaParams p{};
    p.batch = batch;
    p.length = length;
    p.heads = heads;
    p.key_heads = key_heads;
    p.key_size = key_size;
    p.value_size = value_size;
    return p;
  }
};

GatedDeltaView view_over_time(const ArrayView& a) {
  const Strides& strides = a.layout->strides;
  return {strides[0], strides[1], strides[2], strides.size() > 3 ? strides[3] : 0};
}

// The operation in terms of others. Times are cut into chunks, each of which is a product of
// matrices. With D[i, j] the product of the decays after time j up to time i, the changes U of the
// states' rows (the left factors of the outer products) solve
// (1 + A) U = rate * (V - D[:, start] * K @ S.T),   A[i, j] = rate[i] D[i, j] K[i] @ K[j], j < i
class Chunks {
 public:
  Chunks(std::span<const array> inputs, Stream s)
      : s_(s),
        sizes_(inputs[0].shape(), inputs[2].shape()),
        dtype_(precise(inputs[0].dtype())),
        queries_(over_time(inputs[0], false)),
        keys_(over_time(inputs[1], false)),
        values_(over_time(inputs[2], true)),
        decays_(over_time(expand_dims(inputs[3], {-1}, s), true)),
        rates_(over_time(expand_dims(inputs[4], {-1}, s), true)),
        state_(reshape(inputs[5], grouped_state(), s)) {
  }

  std::vector<array> run(Dtype dtype) {
    std::vector<array> results;
    for (int64_t first = 0; first < sizes_.length; first += kChunk) {
      results.push_back(next(first, std::min(kChunk, sizes_.length - first)));
    }
    const Shape shape{sizes_.batch, sizes_.length, sizes_.heads, sizes_.value_size};
    if (results.empty()) {
      return {zeros(shape, dtype, s_), reshape(state_, sizes_.state(), s_)};
    }
    // (batch, key_heads, shared, length, value_size)
    const array result = transpose(concatenate(results, -2, s_), Axes{0, 3, 1, 2, 4}, s_);
    return {astype(reshape(result, shape, s_), dtype, s_), reshape(state_, sizes_.state(), s_)};
  }

 private:
  Shape grouped_state() const {
    return {sizes_.batch, sizes_.key_heads, sizes_.shared(), sizes_.value_size, sizes_.key_size};
  }
  // (batch, length, heads, n) as (batch, key_heads, shared, length, n).
  array over_time(const array& a, bool has_all_heads) const {
    const array wide = astype(a, dtype_, s_);
    const Shape shape{
        sizes_.batch,
        sizes_.length,
        sizes_.key_heads,
        has_all_heads ? sizes_.shared() : 1,
        a.shape(-1)};
    return transpose(reshape(wide, shape, s_), Axes{0, 2, 3, 1, 4}, s_);
  }
  array times(const array& a, int64_t first, int64_t count) const {
    Shape starts(a.shape().size(), 0);
    Shape stops = a.shape();
    starts[3] = first;
    stops[3] = first + count;
    return slice(a, starts, stops, Strides(a.shape().size(), 1), s_);
  }
  // Whether the row's number is greater than the column's, or equal to it.
  array below(int64_t n, bool diagonal) const {
    const array i = arange(int64_t{0}, n, int64_t{1}, int32, s_);
    const array row = expand_dims(i, {-1}, s_);
    return diagonal ? greater_equal(row, i, s_) : greater(row, i, s_);
  }
  array only(const array& where_true, const array& a, double otherwise) const {
    return where(where_true, a, number(otherwise, dtype_), s_);
  }
  array transposed_product(const array& a, const array& b) const {
    return matmul(a, matrix_transpose(b, s_), s_);
  }

  // Solves (1 + a) x = b for a strictly lower triangular `a`, whose powers beyond n - 1 are zero.
  array solve(const array& a, const array& b, int64_t n) const {
    array power = negative(a, s_);
    array x = b;
    for (int64_t reach = 1; reach < n; reach *= 2) {
      x = add(x, matmul(power, x, s_), s_);
      if (2 * reach < n) {
        power = matmul(power, power, s_);
      }
    }
    return x;
  }

  // The results of times first to first + n - 1. Advances the state.
  array next(int64_t first, int64_t n) {
    const array query = times(queries_, first, n);
    const array key = times(keys_, first, n);
    const array decay = times(decays_, first, n);
    const array rate = times(rates_, first, n);
    const array since = cumprod(decay, 3, false, true, std::nullopt, s_); // the start
    const array between = only(
        below(n, true),
        cumprod(only(below(n, false), decay, 1), 3, false, true, std::nullopt, s_),
        0);
    const array keys = multiply(transposed_product(key, key), between, s_);
    const array known = multiply(since, transposed_product(key, state_), s_);
    const array changes = solve(
        multiply(rate, only(below(n, false), keys, 0), s_),
        multiply(rate, subtract(times(values_, first, n), known, s_), s_),
        n);
    const array seen = multiply(transposed_product(query, key), between, s_);
    const array result =
        add(multiply(since, transposed_product(query, state_), s_), matmul(seen, changes, s_), s_);
    const array rest = matrix_transpose(last_row(between, n), s_); // decays until the end
    const array written = matmul(matrix_transpose(multiply(changes, rest, s_), s_), key, s_);
    state_ = add(multiply(last_row(since, n), state_, s_), written, s_);
    return result;
  }
  array last_row(const array& a, int64_t n) const {
    return times(a, n - 1, 1);
  }

  Stream s_;
  Sizes sizes_;
  Dtype dtype_;
  array queries_;
  array keys_;
  array values_;
  array decays_;
  array rates_;
  array state_;
};

std::vector<array> record_update(std::span<const array> inputs, Stream s);

// Outputs: results and states.
class GatedDelta final : public Record<> {
 public:
  const char* name() const override {
    return "gated_delta_update";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::gated_delta, 0, out, out};
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    return Chunks(inputs, s).run(inputs[0].dtype());
  }
  void place(Placement& placement) const override {
    placement.allocate(0);
    placement.allocate(1);
    const Dtype dtype = placement.output_dtype(0);
    const Sizes sizes(placement.input_shape(0), placement.input_shape(2));
    placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) { take(sizes.params()); });
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    if (step.outputs[0].size() == 0 && step.outputs[1].size() == 0) {
      return;
    }
    const Dtype dtype = step.outputs[0].dtype;
    GatedDeltaParams p = Sizes(*step.inputs[0].shape, *step.inputs[2].shape).params();
    p.query = view_over_time(step.inputs[0]);
    p.key = view_over_time(step.inputs[1]);
    p.value = view_over_time(step.inputs[2]);
    p.decay = view_over_time(step.inputs[3]);
    p.rate = view_over_time(step.inputs[4]);
    const Strides& state = step.inputs[5].layout->strides;
    p.state = {state[0], state[2], state[1], state[3]};
    std::array<Operand, 8> operands;
    for (size_t i = 0; i < operands.size(); ++i) {
      operands[i] = i < 6 ? step.inputs[i].operand() : step.outputs[i - 6].operand();
    }
    encoder.run({kernel(dtype, dtype), operands, p, step.workspace});
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    std::vector<array> entries = as_batches(inputs, batched, size, op.stream);
    for (array& a : entries) {
      a = flatten(a, 0, 1, op.stream);
    }
    std::vector<array> outputs = record_update(entries, op.stream);
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs[i] = reshape(outputs[i], with_batch(size, op.outputs[i].shape()), op.stream);
    }
    return outputs;
  }
};

void expect_shape(const char* name, const array& a, const Shape& expected) {
  if (a.shape() != expected) {
    fail<ValueError>(
        "[",
        kName,
        "] ",
        name,
        " of shape ",
        to_string(a.shape()),
        ", expected ",
        to_string(expected),
        ".");
  }
}

// ValueError unless the shapes fit. Files may contain others.
void check_shapes(std::span<const array> inputs) {
  const Shape& q = inputs[0].shape();
  const Shape& v = inputs[2].shape();
  if (q.size() != 4 || v.size() != 4) {
    fail<ValueError>(
        "[",
        kName,
        "] queries of shape ",
        to_string(q),
        " and values of shape ",
        to_string(v),
        ", expected 4 dimensions: batch, length, heads and size.");
  }
  if (q[2] == 0 ? v[2] != 0 : v[2] % q[2] != 0) {
    fail<ValueError>(
        "[", kName, "] ", q[2], " heads of keys, expected a divisor of the ", v[2], " of values.");
  }
  expect_shape("keys", inputs[1], q);
  expect_shape("values", inputs[2], {q[0], q[1], v[2], v[3]});
  expect_shape("gamma", inputs[3], {q[0], q[1], v[2]});
  expect_shape("beta", inputs[4], {q[0], q[1], v[2]});
  expect_shape("initial_state", inputs[5], Sizes(q, v).state());
}

std::vector<array> record_update(std::span<const array> inputs, Stream s) {
  check_shapes(inputs);
  const Dtype dtype = inputs[0].dtype();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Dtype expected = i < 3 ? dtype : precise(dtype);
    if (!is_floating(dtype) || inputs[i].dtype() != expected) {
      fail<ValueError>(
          "[", kName, "] an input of dtype ", name_of(inputs[i].dtype()), ", expected floats.");
    }
  }
  const Sizes sizes(inputs[0].shape(), inputs[2].shape());
  static const std::shared_ptr<const Primitive> primitive = std::make_shared<GatedDelta>();
  return record(
      primitive, s, {{inputs[2].shape(), dtype}, {sizes.state(), precise(dtype)}}, inputs);
}

void check_dtype(const char* name, Dtype dtype) {
  if (is_complex(dtype)) {
    fail<ValueError>("[", kName, "] ", name, " of dtype ", name_of(dtype), ", expected floats.");
  }
}

} // namespace

std::pair<array, array> fast::gated_delta_update(
    const array& q,
    const array& k,
    const array& v,
    const array& gamma,
    const array& beta,
    const std::optional<array>& initial_state,
    const std::optional<array>& mask,
    StreamOrDevice optional_stream) {
  const Stream s = optional_stream.stream();
  const Dtype dtype = promote(promote(q.dtype(), k.dtype()), v.dtype());
  if (!is_floating(dtype)) {
    fail<ValueError>("[", kName, "] inputs of dtype ", name_of(dtype), ", expected floats.");
  }
  check_dtype("gamma", gamma.dtype());
  check_dtype("beta", beta.dtype());
  const Dtype computed = precise(dtype);
  std::vector<array> inputs{
      astype(q, dtype, s),
      astype(k, dtype, s),
      astype(v, dtype, s),
      astype(gamma, computed, s),
      astype(beta, computed, s)};
  if (initial_state) {
    check_dtype("initial_state", initial_state->dtype());
    inputs.push_back(astype(*initial_state, computed, s));
  } else {
    const bool has_sizes = q.ndim() == 4 && v.ndim() == 4;
    const Shape shape = has_sizes ? Sizes(q.shape(), v.shape()).state() : Shape{};
    inputs.push_back(broadcast_to(number(0, computed), shape, s));
  }
  check_shapes(inputs);
  if (!mask) {
    std::vector<array> outputs = record_update(inputs, s);
    return {outputs[0], outputs[1]};
  }
  if (mask->dtype() != bool_) {
    fail<ValueError>("[", kName, "] a mask of dtype ", name_of(mask->dtype()), ", expected bool.");
  }
  expect_shape("mask", *mask, {q.shape(0), q.shape(1)});
  const array taken = expand_dims(*mask, {-1}, s);
  inputs[3] = where(taken, inputs[3], number(1, computed), s);
  inputs[4] = where(taken, inputs[4], number(0, computed), s);
  std::vector<array> outputs = record_update(inputs, s);
  return {where(expand_dims(taken, {-1}, s), outputs[0], number(0, dtype), s), outputs[1]};
}

namespace {

const RecordRow<NoFields, 6> kGatedDelta(
    "gated_delta_update", [](const OperationCall& call, const NoFields&) {
      return record_update(call.inputs, call.stream.stream());
    });

} // namespace

} // namespace narrows
