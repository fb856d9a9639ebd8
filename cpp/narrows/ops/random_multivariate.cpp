// Normal numbers with a covariance.
#include "narrows/core/errors.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/linalg.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/random.h"
#include "narrows/ops/shape.h"

namespace narrows::random {

namespace {

void require_normal_parameters(const array& mean, const array& cov) {
  const bool fits = mean.ndim() >= 1 && cov.ndim() >= 2 && cov.shape(-2) == cov.shape(-1) &&
                    cov.shape(-1) == mean.shape(-1);
  if (!fits) {
    fail<ValueError>(
        "[multivariate_normal] mean of shape ",
        to_string(mean.shape()),
        " and cov of shape ",
        to_string(cov.shape()),
        ", expected (..., n) and (..., n, n).");
  }
  if (is_complex(mean.dtype()) || is_complex(cov.dtype())) {
    fail<ValueError>(
        "[multivariate_normal] mean of dtype ",
        name_of(mean.dtype()),
        " and cov of dtype ",
        name_of(cov.dtype()),
        ", expected real numbers.");
  }
}

} // namespace

array multivariate_normal(
    const array& mean,
    const array& cov,
    const Shape& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  constexpr const char* kOp = "multivariate_normal";
  if (dtype != float32) {
    fail<ValueError>("[", kOp, "] dtype ", name_of(dtype), ", expected float32.");
  }
  require_normal_parameters(mean, cov);
  Shape result = broadcast_shapes(
      kOp, linalg::with_last(mean.shape(), 1, {}), linalg::with_last(cov.shape(), 2, {}));
  result = broadcast_shapes(kOp, shape, result);
  result.push_back(mean.shape(-1));
  const std::vector<array> factors = linalg::svd(astype(cov, float32, s), false, s);
  const array columns = multiply(factors[0], expand_dims(sqrt(factors[1], s), {-2}, s), s);
  const array root = matmul(columns, factors[2], s);
  array numbers = normal(result, float32, std::nullopt, std::nullopt, key, s);
  numbers = cov.ndim() == 2 ? matmul(numbers, root, s)
                            : squeeze(matmul(expand_dims(numbers, {-2}, s), root, s), {-2}, s);
  return add(numbers, astype(mean, float32, s), s);
}

} // namespace narrows::random
