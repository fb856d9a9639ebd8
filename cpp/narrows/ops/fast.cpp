#include "narrows/ops/fast.h"

#include <cmath>
#include <vector>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/softmax.h"

namespace narrows::fast {
namespace {

const OptionalAxes kLast = Axes{-1};

// The dtype in which rows of `dtype` are computed.
Dtype precise(Dtype dtype) {
  return dtype == float64 ? float64 : float32;
}

void check_rows(const char* op, const array& x) {
  if (x.ndim() == 0) {
    fail<ValueError>("[", op, "] an input of shape (), expected one dimension at least.");
  }
  if (!is_floating(x.dtype())) {
    fail<ValueError>("[", op, "] an input of dtype ", name_of(x.dtype()), ", expected floats.");
  }
}

// Checks a weight or a bias: there is none, or it is a vector of the rows' length.
void check_vector(
    const char* op, const char* name, const std::optional<array>& vector, const array& x) {
  if (vector && vector->shape() != Shape{x.shape(-1)}) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        name,
        " of shape ",
        to_string(vector->shape()),
        " for an input of shape ",
        to_string(x.shape()),
        ", expected (",
        x.shape(-1),
        ",).");
  }
  if (vector && !is_floating(vector->dtype())) {
    fail<ValueError>(
        "[", op, "] ", name, " of dtype ", name_of(vector->dtype()), ", expected floats.");
  }
}

// rsqrt(mean of the squares + eps) of each row.
array inverse_norm(const array& rows, double eps, StreamOrDevice s) {
  const array mean_square = mean(square(rows, s), kLast, true, s);
  return rsqrt(add(mean_square, number(eps, rows.dtype()), s), s);
}

// The angles of rope(), as (length, dims / 2) or (batch, 1, ..., length, dims / 2).
array rope_angles(
    const array& a,
    int dims,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s) {
  const int64_t length = a.shape(-2);
  array positions = arange(int64_t{0}, length, int64_t{1}, float32, s);
  array start = astype(offset, float32, s);
  if (offset.size() > 1) {
    Shape shape(static_cast<size_t>(a.ndim() - 1), 1);
    shape[0] = offset.size();
    start = reshape(start, shape, s);
  } else {
    start = reshape(start, {}, s);
  }
  positions = multiply(add(start, positions, s), number(scale, float32), s);
  array frequencies;
  if (angles.freqs) {
    frequencies = divide(number(1, float32), astype(*angles.freqs, float32, s), s);
  } else {
    const double step = -std::log(*angles.base) / (dims / 2);
    const array i = arange(int64_t{0}, int64_t{dims} / 2, int64_t{1}, float32, s);
    frequencies = exp(multiply(i, number(step, float32), s), s);
  }
  return multiply(expand_dims(positions, {-1}, s), frequencies, s);
}

void check_rope(const array& a, int dims, const RopeAngles& angles, const array& offset) {
  if (a.ndim() < 3) {
    fail<ValueError>(
        "[rope] an input of shape ",
        to_string(a.shape()),
        ", expected (batch, ..., length, size) of 3 dimensions at least.");
  }
  if (!is_floating(a.dtype())) {
    fail<ValueError>("[rope] an input of dtype ", name_of(a.dtype()), ", expected floats.");
  }
  if (dims < 0 || dims % 2 != 0 || dims > a.shape(-1)) {
    fail<ValueError>(
        "[rope] dims ", dims, ", expected an even number from 0 to ", a.shape(-1), ".");
  }
  if (angles.base.has_value() == angles.freqs.has_value()) {
    fail<ValueError>("[rope] expected one of base and freqs, got both or none.");
  }
  if (angles.freqs && angles.freqs->shape() != Shape{int64_t{dims} / 2}) {
    fail<ValueError>(
        "[rope] freqs of shape ",
        to_string(angles.freqs->shape()),
        ", expected (",
        dims / 2,
        ",).");
  }
  const bool fits = offset.ndim() == 0 ||
                    (offset.ndim() == 1 && (offset.size() == 1 || offset.size() == a.shape(0)));
  if (!is_integer(offset.dtype()) || !fits) {
    fail<ValueError>(
        "[rope] offset of shape ",
        to_string(offset.shape()),
        " and dtype ",
        name_of(offset.dtype()),
        ", expected an integer or ",
        a.shape(0),
        " of them.");
  }
}

// Every `step`-th of the elements [begin, end) of the last dimension.
array columns(const array& a, int64_t begin, int64_t end, int64_t step, StreamOrDevice s) {
  Shape starts(a.shape().size(), 0);
  Shape stops = a.shape();
  Strides steps(a.shape().size(), 1);
  starts.back() = begin;
  stops.back() = end;
  steps.back() = step;
  return slice(a, starts, stops, steps, s);
}

} // namespace

array rms_norm(const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s) {
  check_rows("rms_norm", x);
  check_vector("rms_norm", "weight", weight, x);
  const array rows = astype(x, precise(x.dtype()), s);
  const array result = astype(multiply(rows, inverse_norm(rows, eps, s), s), x.dtype(), s);
  return weight ? multiply(result, *weight, s) : result;
}

array layer_norm(
    const array& x,
    const std::optional<array>& weight,
    const std::optional<array>& bias,
    double eps,
    StreamOrDevice s) {
  check_rows("layer_norm", x);
  check_vector("layer_norm", "weight", weight, x);
  check_vector("layer_norm", "bias", bias, x);
  const array rows = astype(x, precise(x.dtype()), s);
  const array centred = subtract(rows, mean(rows, kLast, true, s), s);
  array result = astype(multiply(centred, inverse_norm(centred, eps, s), s), x.dtype(), s);
  result = weight ? multiply(result, *weight, s) : result;
  return bias ? add(result, *bias, s) : result;
}

array rope(
    const array& a,
    int dims,
    bool traditional,
    const RopeAngles& angles,
    double scale,
    const array& offset,
    StreamOrDevice s) {
  check_rope(a, dims, angles, offset);
  if (dims == 0) {
    return a;
  }
  const Dtype dtype = precise(a.dtype());
  const array theta = astype(rope_angles(a, dims, angles, scale, offset, s), dtype, s);
  const array c = cos(theta, s);
  const array n = sin(theta, s);
  const int64_t half = dims / 2;
  const array first =
      astype(traditional ? columns(a, 0, dims, 2, s) : columns(a, 0, half, 1, s), dtype, s);
  const array second =
      astype(traditional ? columns(a, 1, dims, 2, s) : columns(a, half, dims, 1, s), dtype, s);
  const auto turned = [&](const array& left, const array& right, auto&& combine) {
    return astype(combine(multiply(left, c, s), multiply(right, n, s)), a.dtype(), s);
  };
  std::vector<array> parts{
      turned(first, second, [&](const array& p, const array& q) { return subtract(p, q, s); }),
      turned(second, first, [&](const array& p, const array& q) { return add(p, q, s); })};
  if (traditional) {
    Shape shape = a.shape();
    shape.back() = dims;
    parts = {reshape(stack(parts, -1, s), shape, s)};
  }
  if (dims < a.shape(-1)) {
    parts.push_back(columns(a, dims, a.shape(-1), 1, s));
  }
  return parts.size() == 1 ? parts[0] : concatenate(parts, -1, s);
}

array cross_entropy(const array& logits, const array& targets, StreamOrDevice s) {
  check_rows("cross_entropy", logits);
  Shape rows = logits.shape();
  rows.pop_back();
  if (!is_integer(targets.dtype()) || targets.shape() != rows) {
    fail<ValueError>(
        "[cross_entropy] targets of shape ",
        to_string(targets.shape()),
        " and dtype ",
        name_of(targets.dtype()),
        ", expected integers of shape ",
        to_string(rows),
        ".");
  }
  const array scores = astype(logits, precise(logits.dtype()), s);
  const array score = take_along_axis(logits, expand_dims(targets, {-1}, s), -1, s);
  return subtract(
      logsumexp(scores, kLast, false, s), astype(squeeze(score, {-1}, s), scores.dtype(), s), s);
}

} // namespace narrows::fast
