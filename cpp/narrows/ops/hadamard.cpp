#include "narrows/ops/hadamard.h"

#include <bit>
#include <cmath>
#include <span>
#include <vector>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/record/host_array.h"

namespace narrows {
namespace {

// The rows of Hadamard matrices: bit j is set where column j is -1.
constexpr uint32_t kRows12[] = {
    0x002, 0xaab, 0x3c8, 0x96e, 0xf20, 0x5ba, 0xc8c, 0x6e6, 0x23c, 0xb96, 0x8f0, 0xe5a};
constexpr uint32_t kRows20[] = {0x6cc3e, 0xd1c5d, 0xab89b, 0x5f117, 0xb660f, 0x9cbde, 0x397bd,
                                0x72b7b, 0xe52f7, 0xca5ef, 0xf79ac, 0xef758, 0xdeeb1, 0xbdd63,
                                0x7bec6, 0xf0592, 0xe8b05, 0xd922a, 0xba074, 0x7c0c9};
constexpr uint32_t kRows28[] = {0x32961fe, 0x65283fd, 0xc85477b, 0x92a8e77, 0x2751c6f, 0x4ca785f,
                                0x994b0bf, 0x4b9bf3c, 0x9537ef8, 0x2a6fdf1, 0x54dbbe3, 0xa9b37c7,
                                0x5366f8f, 0xa4cdf9e, 0x79f8cda, 0xf1f5935, 0xe3ef26a, 0xc7de4d5,
                                0x8fbc9ab, 0x1f7d356, 0x3cfe62d, 0xfd0ed66, 0xfa1dacd, 0xf63b51b,
                                0xee72ab6, 0xdee15ec, 0xbfc2b59, 0x7f856b3};

// A factor of the transform: a matrix of this many rows.
struct Factor {
  int64_t size;
  std::span<const uint32_t> rows; // empty: a power of two

  bool is_negative(int64_t i, int64_t j) const {
    return rows.empty() ? std::popcount(static_cast<uint64_t>(i & j)) % 2 != 0
                        : (rows[static_cast<size_t>(i)] >> j & 1u) != 0;
  }
  array matrix(Dtype dtype, StreamOrDevice s) const {
    const array signs =
        host_array("hadamard_transform", {size, size}, float32, [&](std::byte* memory) {
          auto* to = reinterpret_cast<float*>(memory);
          for (int64_t i = 0; i < size; ++i) {
            for (int64_t j = 0; j < size; ++j) {
              *to++ = is_negative(i, j) ? -1.0f : 1.0f;
            }
          }
        });
    return astype(signs, dtype, s);
  }
};

// The factors of length n, the outermost first. Powers of two are split into factors of the size
// for which products are fast.
std::vector<Factor> factors_of(const Shape& shape) {
  constexpr int64_t kLargest = 64;
  const int64_t n = shape.back();
  int64_t odd = n;
  int64_t power = 1;
  while (odd > 0 && odd % 2 == 0) {
    odd /= 2;
    power *= 2;
  }
  std::vector<Factor> factors;
  if (power >= 4 && (odd == 3 || odd == 5 || odd == 7)) {
    const std::span<const uint32_t> rows = odd == 3   ? std::span<const uint32_t>(kRows12)
                                           : odd == 5 ? std::span<const uint32_t>(kRows20)
                                                      : std::span<const uint32_t>(kRows28);
    factors.push_back({4 * odd, rows});
    power /= 4;
  } else if (odd != 1) {
    fail<ValueError>(
        "[hadamard_transform] an array of shape ",
        to_string(shape),
        ", expected m * 2^k as the last dimension, with m one of 1, 12, 20 and 28.");
  }
  for (; power > 1; power /= std::min(power, kLargest)) {
    factors.push_back({std::min(power, kLargest), {}});
  }
  return factors;
}

} // namespace

array hadamard_transform(const array& a, std::optional<double> scale, StreamOrDevice s) {
  if (is_complex(a.dtype())) {
    fail<ValueError>("[hadamard_transform] dtype ", name_of(a.dtype()), ", expected real numbers.");
  }
  const Dtype dtype = is_floating(a.dtype()) ? a.dtype() : float32;
  const Dtype computed = dtype == float64 ? float64 : float32;
  if (a.ndim() == 0) {
    const array factor = number(scale.value_or(1), computed);
    return astype(multiply(astype(a, computed, s), factor, s), dtype, s);
  }
  const std::vector<Factor> factors = factors_of(a.shape());
  const int64_t n = a.shape(-1);
  array result = astype(a, computed, s);
  // Gives each factor a dimension of its own. The other dimensions are the rows, or the columns, of
  // its products.
  int64_t inner = n;
  for (const Factor& factor : factors) {
    inner /= factor.size;
    Shape shape = a.shape();
    shape.back() = n / (factor.size * inner);
    shape.push_back(factor.size);
    shape.push_back(inner);
    const array matrix = factor.matrix(computed, s);
    if (inner == 1) {
      shape.pop_back();
      result = matmul(reshape(result, shape, s), matrix, s);
    } else {
      result = matmul(matrix_transpose(matrix, s), reshape(result, shape, s), s);
    }
  }
  const double by = scale.value_or(1 / std::sqrt(static_cast<double>(n)));
  result = multiply(reshape(result, a.shape(), s), number(by, computed), s);
  return astype(result, dtype, s);
}

} // namespace narrows
