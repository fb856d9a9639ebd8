#include <gtest/gtest.h>

#include <cmath>

#include "metal_kernels/scan.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/core/kernel_families.h"
#include "run_call.h"
#include "typed_buffer.h"

namespace narrows::cpu {
namespace {

using testing::fill_small;
using testing::fill_units;
using testing::kAllDtypes;
using testing::Number;
using testing::same;
using testing::TypedBuffer;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  int64_t outer;
  int64_t length;
  int64_t inner;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.outer << "x" << c.length << "x" << c.inner;
}

Dtype result_dtype(ScanOp op, Dtype in) {
  return op == ScanOp::sum && in == bool_ ? int32 : in;
}

void scan(
    ScanOp op, const TypedBuffer& in, Case c, bool reverse, bool inclusive, TypedBuffer& out) {
  const ScanParams p{c.outer, c.length, c.inner, reverse, inclusive};
  void* operands[] = {const_cast<char*>(in.data()), out.data()};
  const KernelId id{KernelFamily::scan, static_cast<uint8_t>(op), in.dtype(), out.dtype()};
  testing::run_call(id, operands, p);
}

Number log_add_exp(Number a, Number b) {
  if (a.real() == -kInfinity) {
    return b;
  }
  const Number large = a.real() > b.real() ? a : b;
  return large + std::log(std::exp(a - large) + std::exp(b - large));
}

// The extreme values of the dtype, which a maximum or minimum without elements gives.
Number identity(ScanOp op, Dtype dtype) {
  if (op == ScanOp::sum || op == ScanOp::prod) {
    return op == ScanOp::prod;
  }
  const bool max = op != ScanOp::min;
  if (is_complex(dtype) && op != ScanOp::logaddexp) {
    return max ? Number(-kInfinity, -kInfinity) : Number(kInfinity, kInfinity);
  }
  if (is_inexact(dtype)) {
    return max ? -kInfinity : kInfinity;
  }
  if (dtype == bool_) {
    return !max;
  }
  const int bits = static_cast<int>(8 * size_of(dtype));
  if (is_unsigned(dtype)) {
    return max ? 0 : std::ldexp(1.0, bits) - 1;
  }
  return max ? -std::ldexp(1.0, bits - 1) : std::ldexp(1.0, bits - 1) - 1;
}

// Integers wrap around in the result's type.
Number wrapped(Number value, Dtype dtype) {
  if (is_inexact(dtype) || dtype == bool_ || size_of(dtype) == 8) {
    return value; // 64 bits do not overflow in these tests
  }
  const double range = std::ldexp(1.0, static_cast<int>(8 * size_of(dtype)));
  double x = value.real() - range * std::floor(value.real() / range);
  if (is_signed_integer(dtype) && x >= range / 2) {
    x -= range;
  }
  return x;
}

Number combine(ScanOp op, Number a, Number b) {
  const auto key = [](Number x) { return std::pair(x.real(), x.imag()); };
  switch (op) {
    case ScanOp::sum:
      return a + b;
    case ScanOp::prod:
      return a * b;
    case ScanOp::min:
      return key(b) < key(a) ? b : a;
    case ScanOp::max:
      return key(b) > key(a) ? b : a;
    case ScanOp::logaddexp:
      break;
  }
  return log_add_exp(a, b);
}

double tolerance(ScanOp op, Dtype dtype) {
  if (op != ScanOp::logaddexp) {
    return 0;
  }
  switch (dtype) {
    case Dtype::float16:
      return 1e-3;
    case Dtype::bfloat16:
      return 8e-3;
    case Dtype::float64:
      return 1e-13;
    default:
      return 1e-5;
  }
}

void check(ScanOp op, Dtype dtype, Case c) {
  TypedBuffer in(dtype, c.outer * c.length * c.inner);
  op == ScanOp::prod ? fill_units(in, 1) : fill_small(in, 1);
  const Dtype result = result_dtype(op, dtype);
  TypedBuffer out(result, in.size());
  TypedBuffer rounded(result, 1);
  for (int variant = 0; variant < 4; ++variant) {
    const bool reverse = variant % 2;
    const bool inclusive = variant / 2;
    scan(op, in, c, reverse, inclusive, out);
    for (int64_t o = 0; o < c.outer; ++o) {
      for (int64_t j = 0; j < c.inner; ++j) {
        Number sum = identity(op, dtype);
        bool is_identity = true;
        for (int64_t i = 0; i < c.length; ++i) {
          const int64_t at = (o * c.length + (reverse ? c.length - 1 - i : i)) * c.inner + j;
          const Number after =
              wrapped(is_identity ? in.get(at) : combine(op, sum, in.get(at)), result);
          const Number expected = inclusive ? after : sum;
          const Number actual = out.get(at);
          if (!(is_identity && !inclusive)) {
            rounded.set(0, expected);
            Number wanted = rounded.get(0);
            if (op == ScanOp::logaddexp && is_complex(dtype)) {
              // Logarithms that differ by whole turns are equally right.
              const double turn = 2 * std::acos(-1.0);
              const double turns = std::round((actual.imag() - wanted.imag()) / turn);
              wanted += Number(0, turns * turn);
            }
            const double allowed = tolerance(op, dtype) * (1 + std::abs(wanted));
            ASSERT_TRUE(same(actual, wanted) || std::abs(actual - wanted) <= allowed)
                << name_of(dtype) << " op " << static_cast<int>(op) << " " << c << " reverse "
                << reverse << " inclusive " << inclusive << " at " << at << ": " << actual
                << " instead of " << wanted;
          } else if (size_of(dtype) < 8 || is_inexact(dtype)) {
            ASSERT_TRUE(same(actual, expected)) << name_of(dtype) << " " << actual;
          }
          sum = after;
          is_identity = false;
        }
      }
    }
  }
}

const Case kCases[] = {
    {1, 1, 1},
    {1, 5, 1},
    {3, 16, 1},
    {2, 33, 1},
    {4, 131, 1},
    {1, 1, 7},
    {2, 5, 3},
    {1, 20, 16},
    {3, 9, 67},
    {2, 3, 1030},
    {1, 140000, 1},
    {1, 200001, 1},
    {1, 50000, 5},
    {100, 300, 1},
    {40, 3, 200},
};

class Scans : public ::testing::TestWithParam<Case> {};

TEST_P(Scans, MatchReference) {
  for (const Dtype dtype : kAllDtypes) {
    for (int k = 0; k < operation_count(KernelFamily::scan); ++k) {
      const auto op = static_cast<ScanOp>(k);
      if (op == ScanOp::logaddexp && !is_inexact(dtype)) {
        continue;
      }
      // Long sums of 16-bit floats overflow float16; they are tested below.
      if (GetParam().length > 1000 && is_half(dtype) && op == ScanOp::sum) {
        continue;
      }
      check(op, dtype, GetParam());
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Scans, ::testing::ValuesIn(kCases));

TEST(Scan, EveryLength) {
  for (const Dtype dtype : {int32, float16, float32, float64, complex64}) {
    for (int64_t n = 1; n <= 70; ++n) {
      check(ScanOp::sum, dtype, {2, n, 1});
      check(ScanOp::max, dtype, {1, 3, n});
    }
  }
}

TEST(Scan, NothingToDo) {
  TypedBuffer in(float32, 1);
  TypedBuffer out(float32, 1);
  scan(ScanOp::sum, in, {0, 3, 1}, false, true, out);
  scan(ScanOp::sum, in, {2, 0, 1}, false, true, out);
}

TEST(Scan, InPlace) {
  TypedBuffer in(float32, 300);
  fill_small(in, 2);
  TypedBuffer expected(float32, 300);
  for (const bool reverse : {false, true}) {
    for (const bool inclusive : {false, true}) {
      scan(ScanOp::sum, in, {2, 75, 2}, reverse, inclusive, expected);
      TypedBuffer out = in;
      scan(ScanOp::sum, out, {2, 75, 2}, reverse, inclusive, out);
      EXPECT_EQ(0, std::memcmp(out.data(), expected.data(), 300 * sizeof(float)));
    }
  }
}

TEST(Scan, ProductsOfBool) {
  TypedBuffer in(bool_, 4);
  TypedBuffer out(bool_, 4);
  const bool values[] = {true, true, false, true};
  for (int i = 0; i < 4; ++i) {
    in.set(i, values[i]);
  }
  scan(ScanOp::prod, in, {1, 4, 1}, false, true, out);
  EXPECT_EQ(out.get(1), Number(1));
  EXPECT_EQ(out.get(2), Number(0));
  EXPECT_EQ(out.get(3), Number(0));
}

TEST(Scan, NanStays) {
  for (const ScanOp op : {ScanOp::max, ScanOp::min, ScanOp::sum, ScanOp::logaddexp}) {
    TypedBuffer in(float32, 100);
    fill_small(in, 3);
    in.set(40, std::numeric_limits<double>::quiet_NaN());
    TypedBuffer out(float32, 100);
    scan(op, in, {1, 100, 1}, false, true, out);
    EXPECT_FALSE(std::isnan(out.get(39).real()));
    EXPECT_TRUE(std::isnan(out.get(40).real()));
    EXPECT_TRUE(std::isnan(out.get(99).real()));
  }
}

TEST(Scan, LogAddExpOfInfinities) {
  TypedBuffer in(float32, 4);
  TypedBuffer out(float32, 4);
  const double values[] = {-kInfinity, -kInfinity, 1, kInfinity};
  for (int i = 0; i < 4; ++i) {
    in.set(i, values[i]);
  }
  scan(ScanOp::logaddexp, in, {1, 4, 1}, false, true, out);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(out.get(i).real(), values[i]);
  }
}

TEST(Scan, LongSumsAreAccurate) {
  const int64_t n = 1 << 20;
  for (const Case c : {Case{1, n, 1}, Case{1, n / 8, 8}}) {
    TypedBuffer in(float32, n);
    auto* values = reinterpret_cast<float*>(in.data());
    std::mt19937 random(4);
    for (int64_t i = 0; i < n; ++i) {
      values[i] = static_cast<float>(random()) * 0x1p-32f;
    }
    TypedBuffer out(float32, n);
    scan(ScanOp::sum, in, c, false, true, out);
    std::vector<double> sums(c.inner);
    for (int64_t i = 0; i < n; ++i) {
      double& sum = sums[i % c.inner];
      sum += values[i];
      ASSERT_NEAR(out.get(i).real() / sum, 1, 2e-7) << i;
    }
  }
}

#if defined(__x86_64__)
// The calls above run the best instruction set; these loops run all of them.
TEST(Scan, InstructionSetsAgree) {
  using Find = ScanTile (*)(ScanOp, Dtype, Dtype);
  const Find find[] = {v2::scan_tile, v3::scan_tile, v4::scan_tile};
  for (int level = 2; level <= cpu_isa_level(); ++level) {
    for (const Dtype dtype : kAllDtypes) {
      for (const ScanOp op : {ScanOp::sum, ScanOp::prod, ScanOp::min, ScanOp::max}) {
        const Dtype result = result_dtype(op, dtype);
        TypedBuffer in(dtype, 7 * 83);
        op == ScanOp::prod ? fill_units(in, 5) : fill_small(in, 5);
        TypedBuffer expected(result, in.size());
        TypedBuffer out(result, in.size());
        const ScanTile tile = find[level - 2](op, dtype, result);
        std::vector<char> carries(83 * tile.carry_size);
        for (const bool reverse : {false, true}) {
          scan(op, in, {7, 83, 1}, reverse, true, expected);
          for (int64_t r = 0; r < 7; ++r) {
            tile.begin(carries.data(), 1);
            tile.scan(
                in.data() + r * 83 * size_of(dtype),
                83,
                1,
                1,
                reverse,
                true,
                carries.data(),
                out.data() + r * 83 * size_of(result));
          }
          EXPECT_EQ(0, std::memcmp(out.data(), expected.data(), out.size() * size_of(result)))
              << "v" << level << " op " << static_cast<int>(op) << " " << name_of(dtype);
          scan(op, in, {1, 7, 83}, reverse, false, expected);
          tile.begin(carries.data(), 83);
          tile.scan(in.data(), 7, 83, 83, reverse, false, carries.data(), out.data());
          EXPECT_EQ(0, std::memcmp(out.data(), expected.data(), out.size() * size_of(result)))
              << "v" << level << " op " << static_cast<int>(op) << " " << name_of(dtype);
        }
      }
    }
  }
}
#endif

} // namespace
} // namespace narrows::cpu
