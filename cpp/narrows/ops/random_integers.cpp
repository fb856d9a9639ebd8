// Random integers of a range. A range of n integers maps b random bits x to floor(x * n / 2^b), the
// upper part of a product: D. Lemire, "Fast random integer generation in an interval", ACM
// Transactions on Modeling and Computer Simulation 29 (2019). No bits are rejected, so their number
// is known beforehand: b is 64 for ranges of up to 2^32 integers, else 96. The probability of an
// integer differs from 1/n by less than n/2^b of it, and n/2^b is at most 2^-32; for a thousand
// integers it is 2^-54. It is exact if n is a power of two.
#include <algorithm>
#include <string>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/key_scope.h"
#include "narrows/ops/random.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"

namespace narrows::random {
namespace {

// The integers first, first + 1, ... as uint64, which wraps around. Their count has 65 bits.
struct Range {
  array first;
  array count_low;  // modulo 2^32
  array count_high; // divided by 2^32; none: the count is at most 2^32 and stands in count_low
};

array high_half(const array& a, StreamOrDevice s) {
  return right_shift(a, number(32, uint64), s);
}

array low_half(const array& a, StreamOrDevice s) {
  return bitwise_and(a, number(0xffffffff, uint64), s);
}

array multiply_add(const array& a, const array& b, const array& c, StreamOrDevice s) {
  return add(multiply(a, b, s), c, s);
}

// Random positions in the range. The first 32 bits are those that uniform() draws with the key. No
// sum of products of halves overflows.
array position(const Range& range, const Shape& shape, const array& key, StreamOrDevice s) {
  const std::vector<array> keys = narrows::split(random::split(key, 2, s), int64_t{2}, 0, s);
  const auto half = [&](const array& of) { return astype(bits(shape, 4, of, s), uint64, s); };
  const auto more = [&](size_t i) { return half(squeeze(keys[i], {0}, s)); };
  const array x2 = half(key);
  const array x1 = more(0);
  const array& n0 = range.count_low;
  const array& n1 = range.count_high;
  if (!n1) {
    return high_half(multiply_add(x2, n0, high_half(multiply(x1, n0, s), s), s), s);
  }
  const array x0 = more(1);
  const array a1 = multiply_add(x1, n0, high_half(multiply(x0, n0, s), s), s);
  const array b1 = multiply_add(x0, n1, low_half(a1, s), s);
  const array a2 = multiply_add(x2, n0, high_half(a1, s), s);
  const array b2 = add(multiply_add(x1, n1, low_half(a2, s), s), high_half(b1, s), s);
  return add(multiply_add(x2, n1, high_half(a2, s), s), high_half(b2, s), s);
}

array draw(
    const Range& range, const Shape& shape, Dtype dtype, const OptionalKey& key, StreamOrDevice s) {
  checked_size("randint", shape);
  const array used_key = key ? *key : default_key(s);
  const array result = add(range.first, position(range, shape, used_key, s), s);
  return broadcast_to(astype(result, dtype, s), shape, s);
}

void require_integers(Dtype dtype) {
  if (is_inexact(dtype)) {
    fail<ValueError>("[randint] dtype ", name_of(dtype), ", expected an integer type or bool.");
  }
}

bool has_sign(const array& a) {
  return is_signed_integer(a.dtype());
}

// The smallest integers that are not below the bounds.
array as_integers(const array& bound, StreamOrDevice s) {
  return is_inexact(bound.dtype()) ? astype(ceil(bound, s), int64, s) : bound;
}

// Whether a < b, for integers of any dtypes.
array is_below(const array& a, const array& b, StreamOrDevice s) {
  const Dtype dtype = has_sign(a) && has_sign(b) ? int64 : uint64;
  const array zero = number(0, int32);
  const array result = less(astype(a, dtype, s), astype(b, dtype, s), s);
  if (has_sign(a) && !has_sign(b)) {
    return logical_or(result, less(a, zero, s), s);
  }
  if (has_sign(b) && !has_sign(a)) {
    return logical_and(result, greater(b, zero, s), s);
  }
  return result;
}

bool holds(Dtype dtype, __int128 value) {
  const int bits = static_cast<int>(8 * size_of(dtype)) - (is_signed_integer(dtype) ? 1 : 0);
  const __int128 end = static_cast<__int128>(1) << bits;
  return dtype == bool_ || (value < end && value >= (is_signed_integer(dtype) ? -end : 0));
}

void require_range(Dtype dtype, __int128 first, __int128 last) {
  for (__int128 value : {first, last}) {
    if (!holds(dtype, value)) {
      fail<ValueError>(
          "[randint] the range includes ",
          value < 0 ? std::to_string(static_cast<int64_t>(value))
                    : std::to_string(static_cast<uint64_t>(value)),
          ", which does not fit in ",
          name_of(dtype),
          ".");
    }
  }
}

} // namespace

array randint(
    __int128 low,
    __int128 high,
    const Shape& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_integers(dtype);
  const __int128 count = std::max<__int128>(high - low, 1);
  require_range(dtype, low, low + count - 1);
  const array first = number(static_cast<uint64_t>(low), uint64);
  if (count <= static_cast<__int128>(1) << 32) {
    const array all = number(static_cast<uint64_t>(count), uint64);
    return draw({first, all, array()}, shape, dtype, key, s);
  }
  const array count_low = number(static_cast<uint64_t>(count) & 0xffffffff, uint64);
  const array count_high = number(static_cast<uint64_t>(count >> 32), uint64);
  return draw({first, count_low, count_high}, shape, dtype, key, s);
}

array randint(
    const array& low,
    const array& high,
    const Shape& shape,
    Dtype dtype,
    const OptionalKey& key,
    StreamOrDevice s) {
  require_integers(dtype);
  if (broadcast_shapes("randint", broadcast_shapes("randint", low.shape(), high.shape()), shape) !=
      shape) {
    fail<ValueError>(
        "[randint] bounds of shapes ",
        to_string(low.shape()),
        " and ",
        to_string(high.shape()),
        ", expected ones that broadcast to ",
        to_string(shape),
        ".");
  }
  const array from = as_integers(low, s);
  const array to = as_integers(high, s);
  const array first = astype(from, uint64, s);
  const array count =
      where(is_below(from, to, s), subtract(astype(to, uint64, s), first, s), number(1, uint64), s);
  const Dtype common = promote(from.dtype(), to.dtype());
  const bool is_long = size_of(common) > 4 || is_inexact(common);
  return is_long ? draw({first, low_half(count, s), high_half(count, s)}, shape, dtype, key, s)
                 : draw({first, count, array()}, shape, dtype, key, s);
}

} // namespace narrows::random
