// Tile kernels of every instruction set against scalar references.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "elementwise_reference.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu {
namespace {

using Bytes = std::vector<std::byte>;

struct Row {
  ElementwiseOp op;
  const char* name;
  int arity;
};
constexpr Row kRows[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  {ElementwiseOp::name, #name, arity},
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

// Critical values of a type: its limits, zeros, small and large ones.
template <typename T>
std::vector<T> samples() {
  std::vector<T> values;
  if constexpr (std::is_same_v<T, bool>) {
    values = {false, true};
  } else if constexpr (std::is_integral_v<T>) {
    using L = std::numeric_limits<T>;
    values = {L::min(), static_cast<T>(L::min() + 1), L::max(), static_cast<T>(L::max() - 1)};
    for (int v = -10; v <= 10; ++v) {
      values.push_back(static_cast<T>(v));
    }
    for (int v : {31, 32, 33, 63, 64, 65, 100, -100}) {
      values.push_back(static_cast<T>(v));
    }
  } else if constexpr (std::is_same_v<T, complex64_t>) {
    const float infinity = std::numeric_limits<float>::infinity();
    const float parts[] = {0.0f, 0.5f, -0.5f, 1.25f, -2.0f, 3.0f, 1e-3f};
    for (float real : parts) {
      for (float imag : parts) {
        values.emplace_back(real, imag);
      }
    }
    values.emplace_back(infinity, 0.0f);
    values.emplace_back(std::nanf(""), 1.0f);
  } else {
    using L = std::numeric_limits<T>;
    for (T v : {T(0), T(0.1), T(0.5), T(0.75), T(1), T(1.5), T(2), T(2.5), T(3), T(10), T(31.4)}) {
      values.push_back(v);
      values.push_back(-v);
    }
    for (T v :
         {L::max(), L::min(), L::denorm_min(), L::epsilon(), L::infinity(), T(88.7), T(1e6)}) {
      values.push_back(v);
      values.push_back(-v);
    }
    values.push_back(L::quiet_NaN());
    std::mt19937 random(7);
    std::uniform_real_distribution<double> exponent(-40.0, 20.0);
    for (int i = 0; i < 40; ++i) {
      const T v = static_cast<T>(std::exp2(exponent(random)));
      values.push_back(i % 2 == 0 ? v : -v);
    }
  }
  return values;
}

// The distance from `want` in units of its last place as a T.
template <typename T>
double ulps(T got, double want) {
  const T rounded = static_cast<T>(want);
  if (std::isnan(rounded) || std::isnan(got)) {
    return std::isnan(rounded) == std::isnan(got) ? 0.0 : 1e30;
  }
  if (std::isinf(rounded) || std::isinf(got)) {
    return rounded == got ? 0.0 : 1e30;
  }
  int exponent = 0;
  std::frexp(rounded, &exponent);
  constexpr int kDigits = std::numeric_limits<T>::digits;
  constexpr int kLeast = std::numeric_limits<T>::min_exponent - kDigits;
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent - kDigits, kLeast));
}

double tolerance(ElementwiseOp op) {
  switch (op) {
    case ElementwiseOp::exp:
    case ElementwiseOp::expm1:
    case ElementwiseOp::log:
    case ElementwiseOp::log1p:
    case ElementwiseOp::tanh:
      return 2.0;
    default:
      return 4.0;
  }
}

template <typename R, typename W>
void expect_matches(R got, W want, ElementwiseOp op, const std::string& where) {
  if constexpr (std::is_same_v<R, bool>) {
    EXPECT_TRUE(got == (want != W(0))) << where << " got " << got;
  } else if constexpr (std::is_same_v<R, complex64_t>) {
    const double error = std::abs(Complex(got) - want);
    EXPECT_LE(error, 4e-6 * std::abs(want) + 1e-6) << where << " got " << got << " want " << want;
  } else if constexpr (std::is_same_v<W, Complex>) {
    EXPECT_LE(ulps(got, want.real()), 2.0) << where;
  } else if constexpr (std::is_integral_v<R>) {
    EXPECT_TRUE(got == static_cast<R>(want)) << where << " got " << +got;
  } else {
    EXPECT_LE(ulps(got, static_cast<double>(want)), tolerance(op))
        << where << " got " << got << " want " << static_cast<double>(want);
  }
}

template <typename T>
auto reference(const Row& row, T a, T b) {
  if constexpr (std::is_same_v<T, bool>) {
    return row.arity == 1 ? boolean_unary(row.op, a) : boolean_binary(row.op, a, b);
  } else if constexpr (std::is_integral_v<T>) {
    return row.arity == 1 ? integer_unary(row.op, a)
                          : integer_binary(row.op, a, b, static_cast<int>(sizeof(T) * 8));
  } else if constexpr (std::is_same_v<T, complex64_t>) {
    return row.arity == 1 ? complex_unary(row.op, a) : complex_binary(row.op, a, b);
  } else {
    if (row.op == ElementwiseOp::floor_divide) {
      // The quotient is rounded to T before it is rounded down.
      return static_cast<double>(std::floor(a / b));
    }
    return row.arity == 1 ? real_unary(row.op, a) : real_binary(row.op, a, b);
  }
}

// Whether the plain reference is meaningful here.
template <typename T>
bool comparable(const Row& row, T a, T b) {
  if constexpr (std::is_same_v<T, complex64_t>) {
    const bool finite = std::isfinite(a.real()) && std::isfinite(b.real());
    const bool zero = a == 0.0f || b == 0.0f;
    switch (row.op) {
      case ElementwiseOp::isfinite:
      case ElementwiseOp::isinf:
      case ElementwiseOp::isnan:
      case ElementwiseOp::isneginf:
      case ElementwiseOp::isposinf:
        return true;
      case ElementwiseOp::divide:
      case ElementwiseOp::reciprocal:
      case ElementwiseOp::rsqrt:
      case ElementwiseOp::power:
      case ElementwiseOp::log:
      case ElementwiseOp::log2:
      case ElementwiseOp::log10:
        return finite && !zero;
      case ElementwiseOp::log1p:
      case ElementwiseOp::arctanh:
      case ElementwiseOp::arctan:
      case ElementwiseOp::logaddexp:
        // Branch cuts and poles are where rounding decides.
        return finite && a.imag() != 0.0f && b.imag() != 0.0f;
      default:
        return finite;
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    const double want = row.arity == 1 ? 0.0 : real_binary(row.op, a, b);
    if (row.op == ElementwiseOp::floor_divide || row.op == ElementwiseOp::remainder) {
      // Rounding the quotient can make it an integer.
      return std::is_same_v<T, double> || std::fabs(want) < 1e3;
    }
    if (row.op == ElementwiseOp::logaddexp) {
      // Where the two parts cancel, only the absolute error is small.
      return std::isnan(want) || std::fabs(want) > 0.5;
    }
    return true;
  } else {
    return true;
  }
}

template <typename T>
void check_kernel(int isa, const Row& row, Dtype dtype) {
  if (row.op == ElementwiseOp::erfinv) {
    return; // has its own test: the C library lacks the function
  }
  const TileKernel kernel =
      tile_kernels(isa).elementwise[static_cast<int>(row.op)][static_cast<int>(dtype)];
  if (kernel == nullptr) {
    return;
  }
  std::vector<T> a;
  std::vector<T> b;
  for (T left : samples<T>()) {
    if (row.arity == 1) {
      a.push_back(left);
      b.push_back(left);
      continue;
    }
    for (T right : samples<T>()) {
      a.push_back(left);
      b.push_back(right);
    }
  }
  const auto n = static_cast<int64_t>(a.size());
  Bytes a_bytes(a.size() * sizeof(T));
  Bytes b_bytes(a.size() * sizeof(T));
  for (size_t i = 0; i < a.size(); ++i) {
    const T values[] = {a[i], b[i]};
    std::memcpy(&a_bytes[i * sizeof(T)], &values[0], sizeof(T));
    std::memcpy(&b_bytes[i * sizeof(T)], &values[1], sizeof(T));
  }
  Bytes out(a.size() * 8);
  const void* const in[] = {a_bytes.data(), b_bytes.data()};
  kernel(in, out.data(), n);
  KernelId id{KernelFamily::elementwise, static_cast<uint8_t>(row.op), dtype, dtype};
  if (!has_kernel(id)) {
    id.out = Dtype::bool_;
  }
  if (!has_kernel(id)) {
    id.out = Dtype::float32;
  }
  ASSERT_TRUE(has_kernel(id)) << row.name;
  dispatch(id.out, [&](auto tag) {
    using R = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<R, float16_t> && !std::is_same_v<R, bfloat16_t>) {
      for (size_t i = 0; i < a.size(); ++i) {
        const T left = a[i];
        const T right = b[i];
        if (!comparable(row, left, right)) {
          continue;
        }
        R got;
        std::memcpy(&got, &out[i * sizeof(R)], sizeof(R));
        std::ostringstream where;
        where << row.name << " " << name_of(dtype) << " v" << isa << " of " << +left << ", "
              << +right;
        if constexpr (
            std::is_same_v<R, complex64_t> != std::is_same_v<T, complex64_t> &&
            std::is_same_v<R, complex64_t>) {
          ADD_FAILURE() << "complex result of a real operation";
        } else {
          expect_matches(got, reference(row, left, right), row.op, where.str());
        }
        if (::testing::Test::HasFailure()) {
          return;
        }
      }
    }
  });
}

TEST(TileKernels, AgreeWithReferences) {
  for (int isa = 2; isa <= cpu_isa_level(); ++isa) {
    for (const Row& row : kRows) {
      for (int d = 0; d < kDtypeCount; ++d) {
        const Dtype dtype = static_cast<Dtype>(d);
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          if constexpr (!std::is_same_v<T, float16_t> && !std::is_same_v<T, bfloat16_t>) {
            check_kernel<T>(isa, row, dtype);
          }
        });
      }
    }
  }
}

// All floats from one bit pattern to the next but some thousands.
TEST(TileKernels, FloatFunctionsAreAccurateEverywhere) {
  constexpr uint64_t kStep = 20011;
  for (int isa = 2; isa <= cpu_isa_level(); ++isa) {
    for (const Row& row : kRows) {
      const TileKernel kernel =
          tile_kernels(isa).elementwise[static_cast<int>(row.op)][static_cast<int>(Dtype::float32)];
      if (row.arity != 1 || row.op == ElementwiseOp::erfinv || kernel == nullptr ||
          !has_kernel(
              {KernelFamily::elementwise, static_cast<uint8_t>(row.op), float32, float32})) {
        continue;
      }
      std::vector<float> x;
      for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += kStep) {
        x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
      }
      std::vector<float> y(x.size());
      const void* const in[] = {x.data()};
      kernel(in, y.data(), static_cast<int64_t>(x.size()));
      double worst = 0.0;
      float at = 0.0f;
      for (size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], real_unary(row.op, x[i]));
        if (error > worst) {
          worst = error;
          at = x[i];
        }
      }
      EXPECT_LE(worst, tolerance(row.op)) << row.name << " v" << isa << " at " << at;
    }
  }
}

TEST(TileKernels, ErfInvInvertsErf) {
  for (int isa = 2; isa <= cpu_isa_level(); ++isa) {
    const auto& row = tile_kernels(isa).elementwise[static_cast<int>(ElementwiseOp::erfinv)];
    std::vector<double> x;
    for (int i = -999; i <= 999; ++i) {
      x.push_back(i / 1000.0);
    }
    for (int i = 11; i < 24; ++i) {
      x.push_back(1.0 - std::ldexp(1.0, -i));
    }
    std::vector<float> x32(x.begin(), x.end());
    x.assign(x32.begin(), x32.end());
    std::vector<double> y(x.size());
    std::vector<float> y32(x.size());
    const void* const in[] = {x.data()};
    const void* const in32[] = {x32.data()};
    row[static_cast<int>(Dtype::float64)](in, y.data(), static_cast<int64_t>(x.size()));
    row[static_cast<int>(Dtype::float32)](in32, y32.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(std::erf(y[i]), x[i], 2.3e-16) << x[i];
      EXPECT_LE(ulps(y32[i], y[i]), 4.0) << x[i];
    }
    const float edges[] = {1.0f, -1.0f, 1.5f};
    const void* const edges_in[] = {edges};
    float out[3];
    row[static_cast<int>(Dtype::float32)](edges_in, out, 3);
    EXPECT_EQ(out[0], std::numeric_limits<float>::infinity());
    EXPECT_EQ(out[1], -std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isnan(out[2]));
  }
}

TEST(TileKernels, CastsConvert) {
  for (int isa = 2; isa <= cpu_isa_level(); ++isa) {
    const auto& cast = tile_kernels(isa).cast;
    const auto run = [&](Dtype from, Dtype to, const auto& in, auto& out) {
      const void* const pointers[] = {in.data()};
      cast[static_cast<int>(from)][static_cast<int>(to)](
          pointers, out.data(), static_cast<int64_t>(in.size()));
    };
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> x = {-1.0f, 300.0f, 1e10f, std::nanf(""), -5.9f, infinity, 0.5f};
    std::vector<uint8_t> u8(x.size());
    run(float32, uint8, x, u8);
    EXPECT_EQ(u8, (std::vector<uint8_t>{255, 44, 0, 0, 251, 0, 0}));
    std::vector<int32_t> i32(x.size());
    run(float32, int32, x, i32);
    EXPECT_EQ(i32, (std::vector<int32_t>{-1, 300, INT32_MIN, INT32_MIN, -5, INT32_MIN, 0}));
    std::vector<uint32_t> u32(x.size());
    run(float32, uint32, x, u32);
    EXPECT_EQ(u32, (std::vector<uint32_t>{4294967295u, 300, 1410065408u, 0, 4294967291u, 0, 0}));
    std::vector<uint64_t> u64(x.size());
    run(float32, uint64, x, u64);
    EXPECT_EQ(u64[0], UINT64_MAX);
    EXPECT_EQ(u64[2], 10000000000u);
    std::vector<uint8_t> flags(x.size());
    run(float32, bool_, x, flags);
    EXPECT_EQ(flags, (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 1}));
    const std::vector<double> d = {2147483647.9, -2147483648.9, 1e300, 3.99};
    std::vector<int32_t> from_double(d.size());
    run(float64, int32, d, from_double);
    EXPECT_EQ(from_double, (std::vector<int32_t>{INT32_MAX, INT32_MIN, INT32_MIN, 3}));
    const std::vector<complex64_t> z = {{1.5f, 2.0f}, {0.0f, 1.0f}, {0.0f, 0.0f}};
    std::vector<int64_t> i64(z.size());
    run(complex64, int64, z, i64);
    EXPECT_EQ(i64, (std::vector<int64_t>{1, 0, 0}));
    std::vector<uint8_t> z_flags(z.size());
    run(complex64, bool_, z, z_flags);
    EXPECT_EQ(z_flags, (std::vector<uint8_t>{1, 1, 0}));
  }
}

TEST(TileKernels, HalvesRoundTripAndRound) {
  for (int isa = 2; isa <= cpu_isa_level(); ++isa) {
    const auto& cast = tile_kernels(isa).cast;
    std::vector<uint16_t> bits(65536);
    for (size_t i = 0; i < bits.size(); ++i) {
      bits[i] = static_cast<uint16_t>(i);
    }
    for (Dtype half : {float16, bfloat16}) {
      std::vector<float> wide(bits.size());
      std::vector<uint16_t> back(bits.size());
      const void* const in[] = {bits.data()};
      const void* const wide_in[] = {wide.data()};
      cast[static_cast<int>(half)][static_cast<int>(float32)](in, wide.data(), 65536);
      cast[static_cast<int>(float32)][static_cast<int>(half)](wide_in, back.data(), 65536);
      std::vector<float> between(bits.size());
      for (size_t i = 0; i < bits.size(); ++i) {
        const float want =
            half == float16 ? half_bits_to_float(bits[i]) : bfloat_bits_to_float(bits[i]);
        if (std::isnan(want)) {
          EXPECT_TRUE(std::isnan(wide[i]));
          continue;
        }
        EXPECT_EQ(wide[i], want);
        EXPECT_EQ(back[i], bits[i]);
        between[i] = std::bit_cast<float>(
            std::bit_cast<uint32_t>(want) + 0x0fffu + static_cast<uint32_t>(i % 3));
      }
      const void* const between_in[] = {between.data()};
      cast[static_cast<int>(float32)][static_cast<int>(half)](between_in, back.data(), 65536);
      for (size_t i = 0; i < bits.size(); ++i) {
        if (!std::isnan(between[i])) {
          EXPECT_EQ(
              back[i],
              half == float16 ? float_to_half_bits(between[i]) : float_to_bfloat_bits(between[i]))
              << between[i];
        }
      }
    }
  }
}

} // namespace
} // namespace narrows::cpu
