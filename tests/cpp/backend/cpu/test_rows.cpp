#include <gtest/gtest.h>

#include <cmath>

#include "metal_kernels/softmax.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/row_tiles.h"
#include "narrows/core/kernel_families.h"
#include "typed_buffer.h"

namespace narrows::cpu {
namespace {

using testing::Number;
using testing::TypedBuffer;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr Dtype kDtypes[] = {float16, bfloat16, float32, float64, complex64};

// Half a unit in the last place for 16-bit types, a few units for the others.
double tolerance(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return 0x1.1p-11;
    case Dtype::bfloat16:
      return 0x1.1p-8;
    case Dtype::float64:
      return 4e-15;
    default:
      return 6e-7;
  }
}

// The spacing of the smallest numbers.
double smallest(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return 0x1p-24;
    case Dtype::bfloat16:
      return 0x1p-133;
    case Dtype::float64:
      return 5e-324;
    default:
      return 0x1p-149;
  }
}

// The allowed error of exp(x), because x is a difference of rounded numbers.
double allowed(Dtype dtype, double x, double value) {
  const double rounding = dtype == float64 ? 0x1p-51 : 0x1p-23;
  return value * (tolerance(dtype) + (std::isinf(x) ? 0 : std::abs(x) * rounding)) +
         2 * smallest(dtype);
}

void fill_normal(TypedBuffer& buffer, unsigned seed, double scale) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, scale);
  for (int64_t i = 0; i < buffer.size(); ++i) {
    const double re = normal(random);
    buffer.set(i, is_complex(buffer.dtype()) ? Number(re, normal(random)) : Number(re));
  }
}

void softmax(const TypedBuffer& in, int64_t rows, int64_t length, TypedBuffer& out) {
  const RowParams p{rows, length};
  void* operands[] = {const_cast<char*>(in.data()), out.data()};
  run({KernelFamily::softmax, 0, in.dtype(), in.dtype()}, operands, &p);
}

void logsumexp(const TypedBuffer& in, int64_t rows, int64_t length, TypedBuffer& out) {
  const RowParams p{rows, length};
  void* operands[] = {const_cast<char*>(in.data()), out.data()};
  run({KernelFamily::logsumexp, 0, in.dtype(), in.dtype()}, operands, &p);
}

struct Expected {
  double maximum = -kInfinity;
  Number sum = 0;
};

Expected expected_of(const TypedBuffer& in, int64_t begin, int64_t length) {
  Expected e;
  for (int64_t i = begin; i < begin + length; ++i) {
    e.maximum = std::max(e.maximum, in.get(i).real());
  }
  for (int64_t i = begin; i < begin + length; ++i) {
    e.sum += std::exp(in.get(i) - e.maximum);
  }
  return e;
}

TEST(Rows, MatchReference) {
  const int64_t lengths[] = {1,  2,  3,  5,  7,   8,   9,   15,   16,   17,   31,  33,
                             63, 64, 65, 67, 127, 129, 500, 1023, 1025, 4096, 4097};
  for (const Dtype dtype : kDtypes) {
    for (const int64_t length : lengths) {
      const int64_t rows = length < 70 ? 50 : 3;
      for (const double scale : {1.0, 20.0}) {
        TypedBuffer in(dtype, rows * length);
        fill_normal(in, static_cast<unsigned>(length), scale);
        TypedBuffer out(dtype, rows * length);
        TypedBuffer sums(dtype, rows);
        softmax(in, rows, length, out);
        logsumexp(in, rows, length, sums);
        for (int64_t r = 0; r < rows; ++r) {
          const Expected e = expected_of(in, r * length, length);
          for (int64_t i = r * length; i < (r + 1) * length; ++i) {
            const Number expected = std::exp(in.get(i) - e.maximum) / e.sum;
            // Small complex sums cancel.
            const double condition = is_complex(dtype) ? 4 + 4 / std::abs(e.sum) : 1;
            const double x = in.get(i).real() - e.maximum;
            ASSERT_NEAR(
                0,
                std::abs(out.get(i) - expected),
                allowed(dtype, x, std::abs(expected)) * condition)
                << name_of(dtype) << " length " << length << " at " << i;
          }
          const Number expected = std::log(e.sum) + e.maximum;
          const double condition = is_complex(dtype) ? 4 + 4 / std::abs(e.sum) : 1;
          ASSERT_NEAR(
              0,
              std::abs(sums.get(r) - expected),
              (std::abs(expected) + 1) * tolerance(dtype) * condition)
              << name_of(dtype) << " length " << length << " row " << r;
        }
      }
    }
  }
}

// Long enough to be shared by threads.
TEST(Rows, LongRows) {
  for (const Dtype dtype : {bfloat16, float32, float64}) {
    const int64_t length = 200003;
    TypedBuffer in(dtype, length);
    fill_normal(in, 7, 3);
    // Parts that are all -inf.
    for (int64_t i = 150000; i < length; ++i) {
      in.set(i, -kInfinity);
    }
    TypedBuffer out(dtype, length);
    TypedBuffer sum(dtype, 1);
    softmax(in, 1, length, out);
    logsumexp(in, 1, length, sum);
    const Expected e = expected_of(in, 0, length);
    for (int64_t i = 0; i < length; i += 17) {
      const double x = in.get(i).real() - e.maximum;
      const double expected = std::exp(x) / e.sum.real();
      // The reference's own sum of many numbers is rounded, too.
      ASSERT_NEAR(out.get(i).real(), expected, 8 * allowed(dtype, x, expected)) << i;
    }
    const double expected = std::log(e.sum.real()) + e.maximum;
    EXPECT_NEAR(sum.get(0).real(), expected, expected * tolerance(dtype));
  }
}

TEST(Rows, InfinitiesAndNans) {
  struct Row {
    double special;
    bool all;
    double logsumexp;
  };
  const Row rows[] = {
      {-kInfinity, true, -kInfinity},
      {kInfinity, true, kInfinity},
      {kInfinity, false, kInfinity},
      {kNan, false, kNan},
  };
  for (const Dtype dtype : {float16, bfloat16, float32, float64}) {
    for (const int64_t length : {2, 16, 100, 3000, 200000}) {
      for (const Row& row : rows) {
        TypedBuffer in(dtype, length);
        for (int64_t i = 0; i < length; ++i) {
          in.set(i, row.all || i == 1 ? row.special : 0.5);
        }
        TypedBuffer out(dtype, length);
        TypedBuffer sum(dtype, 1);
        softmax(in, 1, length, out);
        logsumexp(in, 1, length, sum);
        EXPECT_TRUE(testing::same(sum.get(0), row.logsumexp))
            << name_of(dtype) << " " << length << " " << row.special << " " << sum.get(0);
        EXPECT_TRUE(std::isnan(out.get(1).real())) << name_of(dtype) << " " << length;
      }
      // A masked element.
      TypedBuffer in(dtype, length);
      in.set(0, -kInfinity);
      for (int64_t i = 1; i < length; ++i) {
        in.set(i, 3);
      }
      TypedBuffer out(dtype, length);
      softmax(in, 1, length, out);
      EXPECT_EQ(out.get(0), Number(0));
      EXPECT_NEAR(
          out.get(1).real() * static_cast<double>(length - 1),
          1,
          2 * tolerance(dtype) + (dtype == float16 ? 5e-3 : 0));
    }
  }
}

TEST(Rows, InPlace) {
  for (const Dtype dtype : kDtypes) {
    for (const int64_t length : {5, 300, 5000, 200000}) {
      TypedBuffer in(dtype, 2 * length);
      fill_normal(in, 8, 1);
      TypedBuffer expected(dtype, in.size());
      softmax(in, 2, length, expected);
      softmax(in, 2, length, in);
      EXPECT_EQ(0, std::memcmp(in.data(), expected.data(), in.size() * size_of(dtype)));
    }
  }
}

TEST(Rows, Nothing) {
  TypedBuffer in(float32, 1);
  TypedBuffer out(float32, 3);
  softmax(in, 0, 5, out);
  softmax(in, 5, 0, out);
  logsumexp(in, 3, 0, out);
  EXPECT_EQ(out.get(2).real(), -kInfinity);
}

#if defined(__x86_64__)
// The calls above run the best instruction set; these loops run all of them.
TEST(Rows, InstructionSetsAgree) {
  using Find = SoftmaxTile (*)(Dtype);
  const Find find[] = {v2::softmax_tile, v3::softmax_tile, v4::softmax_tile};
  for (int level = 2; level <= cpu_isa_level(); ++level) {
    for (const Dtype dtype : {float16, bfloat16, float32, float64}) {
      for (const int64_t length : {1, 7, 70, 5000}) {
        TypedBuffer in(dtype, 3 * length);
        fill_normal(in, 9, 30);
        TypedBuffer out(dtype, in.size());
        find[level - 2](dtype).rows(in.data(), 3, length, out.data());
        for (int64_t i = 0; i < in.size(); i += length) {
          const Expected row = expected_of(in, i, length);
          for (int64_t j = i; j < i + length; ++j) {
            const double x = in.get(j).real() - row.maximum;
            const double expected = std::exp(x) / row.sum.real();
            ASSERT_NEAR(out.get(j).real(), expected, allowed(dtype, x, expected))
                << "v" << level << " " << name_of(dtype) << " length " << length;
          }
        }
      }
    }
  }
}
#endif

} // namespace
} // namespace narrows::cpu
