#include "narrows/ops/window.h"

#include <algorithm>
#include <numbers>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"

namespace narrows {
namespace {

// The distance of each element from the nearer end. Both halves are the same, so that windows are
// symmetric to the last bit.
array distance_to_end(int64_t m, StreamOrDevice s) {
  const array n = arange(int64_t{0}, std::max<int64_t>(m, 0), int64_t{1}, int64, s);
  const array last = number(m - 1, int64);
  return astype(minimum(n, subtract(last, n, s), s), float32, s);
}

// a0 - a1 cos(x) + a2 cos(2 x)
array cosine_window(int64_t m, double a0, double a1, double a2, StreamOrDevice s) {
  if (m <= 1) {
    return ones({std::max<int64_t>(m, 0)}, float32, s);
  }
  const double step = 2 * std::numbers::pi / static_cast<double>(m - 1);
  const array x = multiply(distance_to_end(m, s), number(step, float32), s);
  array result = subtract(number(a0, float32), multiply(number(a1, float32), cos(x, s), s), s);
  if (a2 != 0) {
    const array doubled = cos(multiply(x, number(2, float32), s), s);
    result = add(result, multiply(number(a2, float32), doubled, s), s);
  }
  return result;
}

} // namespace

array bartlett(int64_t m, StreamOrDevice s) {
  if (m <= 1) {
    return ones({std::max<int64_t>(m, 0)}, float32, s);
  }
  return divide(distance_to_end(m, s), number(static_cast<double>(m - 1) / 2, float32), s);
}

array hanning(int64_t m, StreamOrDevice s) {
  return cosine_window(m, 0.5, 0.5, 0, s);
}

array hamming(int64_t m, StreamOrDevice s) {
  return cosine_window(m, 0.54, 0.46, 0, s);
}

array blackman(int64_t m, StreamOrDevice s) {
  return cosine_window(m, 0.42, 0.5, 0.08, s);
}

} // namespace narrows
