// Linear algebra made of factors and of other operations: pseudo-inverses, norms, cross products.
#include "narrows/ops/linalg.h"

#include <cmath>
#include <limits>

#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/matrix_checks.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/slice.h"

namespace narrows::linalg {
namespace {

array vector_norm(const array& a, double order, const Axes& axes, bool keepdims, StreamOrDevice s) {
  const array size = abs(a, s);
  if (std::isinf(order)) {
    return order > 0 ? max(size, axes, keepdims, s) : min(size, axes, keepdims, s);
  }
  if (order == 0) {
    const array zero = number(0, size.dtype());
    return sum(astype(not_equal(size, zero, s), size.dtype(), s), axes, keepdims, s);
  }
  if (order == 1) {
    return sum(size, axes, keepdims, s);
  }
  if (order == 2) {
    return sqrt(sum(square(size, s), axes, keepdims, s), s);
  }
  const array total = sum(power(size, number(order, size.dtype()), s), axes, keepdims, s);
  return power(total, number(1 / order, size.dtype()), s);
}

// A reduction of the singular values of the matrices along two axes.
array norm_of_singular_values(
    const array& a,
    array (*reduction)(const array&, const OptionalAxes&, bool, StreamOrDevice),
    const Axes& axes,
    bool keepdims,
    StreamOrDevice s) {
  Axes order;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i != axes[0] && i != axes[1]) {
      order.push_back(i);
    }
  }
  order.push_back(axes[0]);
  order.push_back(axes[1]);
  const array matrices = transpose(a, order, s);
  const Dtype dtype = matrices.dtype();
  const array values = singular_values(is_half(dtype) ? astype(matrices, float32, s) : matrices, s);
  const array result = astype(reduction(values, Axes{-1}, false, s), real_dtype(dtype), s);
  return keepdims ? expand_dims(result, axes, s) : result;
}

array matrix_norm(const array& a, double order, const Axes& axes, bool keepdims, StreamOrDevice s) {
  const auto largest = [&](int summed, int compared) {
    const array sums = sum(abs(a, s), Axes{axes[static_cast<size_t>(summed)]}, true, s);
    const Axes of{axes[static_cast<size_t>(compared)]};
    const array result = order > 0 ? max(sums, of, true, s) : min(sums, of, true, s);
    return keepdims ? result : squeeze(result, axes, s);
  };
  if (std::abs(order) == 1) {
    return largest(0, 1);
  }
  if (std::isinf(order)) {
    return largest(1, 0);
  }
  if (std::abs(order) == 2) {
    return norm_of_singular_values(a, order > 0 ? max : min, axes, keepdims, s);
  }
  fail<ValueError>(
      "[linalg.norm] order ",
      order,
      " of matrices, expected 1, -1, 2, -2, inf, -inf, 'fro' or 'nuc'.");
}

} // namespace

array pinv(const array& a, StreamOrDevice s) {
  require_matrix("pinv", a);
  require_matrix_dtype("pinv", a.dtype());
  const int64_t m = a.shape(-2);
  const int64_t n = a.shape(-1);
  if (a.size() == 0) {
    return zeros(with_last(a.shape(), 2, {n, m}), a.dtype(), s);
  }
  const std::vector<array> factors = svd(a, false, s);
  const array& values = factors[1];
  const double epsilon = a.dtype() == float64 ? std::numeric_limits<double>::epsilon()
                                              : std::numeric_limits<float>::epsilon();
  const array least = multiply(
      max(values, Axes{-1}, true, s),
      number(10 * static_cast<double>(std::max(m, n)) * epsilon, values.dtype()),
      s);
  const array zero = number(0, values.dtype());
  const array inverse = reciprocal_or_zero(where(greater(values, least, s), values, zero, s), s);
  const array scaled = multiply(adjoint(factors[2], s), as_row(inverse, s), s);
  return matmul(scaled, adjoint(factors[0], s), s);
}

array norm(
    const array& a,
    const NormOrder& order,
    const std::optional<Axes>& axes,
    bool keepdims,
    StreamOrDevice s) {
  const array x = astype(a, at_least_float(a.dtype()), s);
  const bool has_order = !std::holds_alternative<std::monostate>(order);
  const Axes over = reduced_axes("linalg.norm", axes, x.shape());
  if (over.size() > 2 ? has_order || axes : over.empty() && has_order) {
    fail<ValueError>(
        "[linalg.norm] ", over.size(), " axes, expected one of vectors or two of matrices.");
  }
  if (!has_order) {
    return vector_norm(x, 2, over, keepdims, s);
  }
  // The order of the axes matters for matrices.
  Axes places;
  for (const int axis : axes.value_or(over)) {
    places.push_back(normalize_axis("linalg.norm", axis, x.shape()));
  }
  if (const std::string* name = std::get_if<std::string>(&order)) {
    if (places.size() != 2 || (*name != "fro" && *name != "f" && *name != "nuc")) {
      fail<ValueError>(
          "[linalg.norm] order '",
          *name,
          "' along ",
          places.size(),
          " axes, expected 'fro', 'f' or 'nuc' along two.");
    }
    return *name == "nuc" ? norm_of_singular_values(x, sum, places, keepdims, s)
                          : vector_norm(x, 2, places, keepdims, s);
  }
  const double number = std::get<double>(order);
  return places.size() == 1 ? vector_norm(x, number, places, keepdims, s)
                            : matrix_norm(x, number, places, keepdims, s);
}

array cross(const array& a, const array& b, int axis, StreamOrDevice s) {
  // The components, as arrays without the axis. Vectors of two components get a third one, zero.
  const auto components = [&](const array& x) {
    const array last = moveaxis(x, normalize_axis("linalg.cross", axis, x.shape()), -1, s);
    const int64_t size = last.shape(-1);
    if (size != 2 && size != 3) {
      fail<ValueError>(
          "[linalg.cross] array of shape ",
          to_string(x.shape()),
          " and axis ",
          axis,
          ", expected an axis of size 2 or 3.");
    }
    std::vector<array> parts = split(last, size, -1, s);
    if (size == 2) {
      parts.push_back(zeros_like(parts[0], s));
    }
    return parts;
  };
  const Dtype dtype = promote(a.dtype(), b.dtype());
  const std::vector<array> x = components(astype(a, dtype, s));
  const std::vector<array> y = components(astype(b, dtype, s));
  std::vector<array> parts;
  for (size_t i = 0; i < 3; ++i) {
    const size_t j = (i + 1) % 3;
    const size_t k = (i + 2) % 3;
    parts.push_back(subtract(multiply(x[j], y[k], s), multiply(x[k], y[j], s), s));
  }
  const array result = concatenate(parts, -1, s);
  return moveaxis(result, -1, normalize_axis("linalg.cross", axis, result.shape()), s);
}

} // namespace narrows::linalg
