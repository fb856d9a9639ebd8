#include "narrows/ops/fast.h"

#include <cmath>
#include <vector>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/normalized_rows.h"
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

} // namespace

array rms_norm(const array& x, const std::optional<array>& weight, double eps, StreamOrDevice s) {
  check_rows("rms_norm", x);
  check_vector("rms_norm", "weight", weight, x);
  const array rows = astype(x, precise(x.dtype()), s);
  const array result = astype(normalized_rows(rows, inverse_norm(rows, eps, s), s), x.dtype(), s);
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
  array result = astype(normalized_rows(centred, inverse_norm(centred, eps, s), s), x.dtype(), s);
  result = weight ? multiply(result, *weight, s) : result;
  return bias ? add(result, *bias, s) : result;
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
