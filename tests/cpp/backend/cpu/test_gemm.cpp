// Matrix products of the CPU backend against a reference summed in double.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <complex>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "narrows/backend/cpu/gemm.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/subnormals.h"

namespace narrows::cpu {
namespace {

using Wide = std::complex<double>;

// Bytes aligned as the allocator aligns them, followed by a canary that a product must not touch.
class Bytes {
 public:
  explicit Bytes(int64_t size) : size_(size) {
    const size_t rounded = static_cast<size_t>(size + kCanary + 63) / 64 * 64;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
    std::memset(data_.get() + size, 0x5a, kCanary);
  }
  void* get() {
    return data_.get();
  }
  bool canary_lives() const {
    for (int64_t i = 0; i < kCanary; ++i) {
      if (data_.get()[size_ + i] != std::byte{0x5a}) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr int64_t kCanary = 64;
  struct Free {
    void operator()(std::byte* pointer) const {
      std::free(pointer);
    }
  };
  int64_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

template <typename T>
Wide widen(T value) {
  if constexpr (sizeof(T) == 2) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return Wide(value);
  }
}

template <typename T>
T random_value(std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  if constexpr (std::is_same_v<T, complex64_t>) {
    const float real = uniform(random);
    return {real, uniform(random)};
  } else {
    return T(uniform(random));
  }
}

template <typename T>
T not_a_number() {
  return T(std::numeric_limits<float>::quiet_NaN());
}

template <typename T>
double unit_roundoff() {
  return std::is_same_v<T, bfloat16_t>  ? 0x1p-8
         : std::is_same_v<T, float16_t> ? 0x1p-11
         : std::is_same_v<T, double>    ? 0x1p-53
                                        : 0x1p-24;
}

struct Case {
  int64_t m, n, k;
  int64_t gap = 0; // elements between the end of a row and the next
  float alpha = 1;
  float beta = 0;
  int64_t batch = 0; // 0: gemm, else gemm_batched
};

GemmShape shape_of(const Case& test, bool transpose_a, bool transpose_b) {
  return {
      test.m,
      test.n,
      test.k,
      transpose_a,
      transpose_b,
      std::max<int64_t>(1, (transpose_a ? test.m : test.k) + test.gap),
      std::max<int64_t>(1, (transpose_b ? test.k : test.n) + test.gap),
      std::max<int64_t>(1, test.n + test.gap)};
}

template <typename T>
void check_case(Dtype dtype, const Case& test, bool transpose_a, bool transpose_b) {
  SCOPED_TRACE(
      ::testing::Message() << name_of(dtype) << " " << test.m << "x" << test.n << "x" << test.k
                           << " gap " << test.gap << " alpha " << test.alpha << " beta "
                           << test.beta << " batch " << test.batch << " " << transpose_a
                           << transpose_b);
  const GemmShape shape = shape_of(test, transpose_a, transpose_b);
  const int64_t batch = std::max<int64_t>(1, test.batch);
  const int64_t a_size = (transpose_a ? test.k : test.m) * shape.lda;
  const int64_t b_size = (transpose_b ? test.n : test.k) * shape.ldb;
  const int64_t c_size = test.m * shape.ldc;
  std::mt19937 random(7);
  std::vector<T> a(batch * a_size), b(batch * b_size), c(batch * c_size);
  for (auto* operand : {&a, &b, &c}) {
    for (T& value : *operand) {
      value = random_value<T>(random);
    }
  }
  if (test.beta == 0) {
    c.assign(c.size(), not_a_number<T>());
  }
  // Gaps between the rows of c must stay as they are.
  const T mark = T(42.0f);
  for (int64_t row = 0; row < batch * test.m; ++row) {
    for (int64_t i = test.n; i < shape.ldc; ++i) {
      c[row * shape.ldc + i] = mark;
    }
  }
  const std::vector<T> before = c;
  std::vector<int64_t> a_offsets, b_offsets, c_offsets;
  for (int64_t i = 0; i < batch; ++i) {
    a_offsets.push_back((batch - 1 - i) * a_size);
    b_offsets.push_back((i / 2) * b_size); // pairs share b
    c_offsets.push_back(i * c_size);
  }
  if (test.batch == 0) {
    Bytes workspace(gemm_workspace(dtype, shape, test.alpha, test.beta));
    gemm(dtype, shape, test.alpha, a.data(), b.data(), test.beta, c.data(), workspace.get());
    EXPECT_TRUE(workspace.canary_lives());
  } else {
    Bytes workspace(gemm_batched_workspace(dtype, shape, batch, test.alpha, test.beta));
    gemm_batched(
        dtype,
        shape,
        test.alpha,
        a.data(),
        a_offsets.data(),
        b.data(),
        b_offsets.data(),
        test.beta,
        c.data(),
        c_offsets.data(),
        batch,
        workspace.get());
    EXPECT_TRUE(workspace.canary_lives());
  }
  // 16-bit results are summed in float32 and rounded once; beta / alpha may round once more.
  const double u = unit_roundoff<T>();
  // Half the distance of float16's subnormal numbers. Those of other types are too small to matter.
  const double spacing = std::is_same_v<T, float16_t> ? 0x1p-25 : 0;
  const double sum_u = sizeof(T) == 2 ? 0x1p-24 : u;
  for (int64_t i = 0; i < batch; ++i) {
    for (int64_t row = 0; row < test.m; ++row) {
      for (int64_t column = 0; column < shape.ldc; ++column) {
        const int64_t at = c_offsets[i] + row * shape.ldc + column;
        if (column >= test.n) {
          ASSERT_EQ(widen(c[at]), widen(mark)) << "gap of row " << row;
          continue;
        }
        Wide sum = 0;
        double magnitude = 0;
        for (int64_t p = 0; p < test.k; ++p) {
          const Wide x =
              widen(a[a_offsets[i] + (transpose_a ? p * shape.lda + row : row * shape.lda + p)]);
          const Wide y = widen(
              b[b_offsets[i] + (transpose_b ? column * shape.ldb + p : p * shape.ldb + column)]);
          sum += x * y;
          magnitude += std::abs(x * y);
        }
        Wide expected = static_cast<double>(test.alpha) * sum;
        magnitude *= std::abs(test.alpha);
        if (test.beta != 0) {
          const Wide old = widen(before[at]);
          expected += static_cast<double>(test.beta) * old;
          magnitude += std::abs(static_cast<double>(test.beta) * old);
        }
        const double bound = 4 * sum_u * magnitude * std::sqrt(static_cast<double>(test.k) + 4) +
                             2 * u * std::abs(expected) + spacing;
        ASSERT_LE(std::abs(widen(c[at]) - expected), bound)
            << "product " << i << " row " << row << " column " << column << ": " << widen(c[at])
            << " for " << expected;
      }
    }
  }
}

void check(Dtype dtype, const Case& test, bool transpose_a, bool transpose_b) {
  switch (dtype) {
    case Dtype::float16:
      return check_case<float16_t>(dtype, test, transpose_a, transpose_b);
    case Dtype::bfloat16:
      return check_case<bfloat16_t>(dtype, test, transpose_a, transpose_b);
    case Dtype::float32:
      return check_case<float>(dtype, test, transpose_a, transpose_b);
    case Dtype::float64:
      return check_case<double>(dtype, test, transpose_a, transpose_b);
    default:
      return check_case<complex64_t>(dtype, test, transpose_a, transpose_b);
  }
}

class Gemm : public ::testing::TestWithParam<std::tuple<Dtype, bool, bool>> {
 protected:
  void check_all(const std::vector<Case>& cases) {
    const auto [dtype, transpose_a, transpose_b] = GetParam();
    for (const Case& test : cases) {
      check(dtype, test, transpose_a, transpose_b);
    }
  }
};

TEST_P(Gemm, Shapes) {
  check_all({
      {1, 1, 1},
      {1, 1, 7},
      {2, 3, 4},
      {3, 5, 7},
      {8, 8, 8},
      {17, 33, 65},
      {64, 64, 64},
      {65, 127, 66},
      {128, 96, 250},
  });
}

TEST_P(Gemm, VectorsAndThinMatrices) {
  check_all({
      {1, 513, 300},
      {513, 1, 300},
      {1, 1, 1000},
      {1, 2000, 3},
      {2000, 1, 3},
      {2, 700, 129},
      {700, 2, 129},
      {300, 300, 1},
      {300, 301, 2},
  });
}

TEST_P(Gemm, LongSumsAreSplit) {
  check_all({
      {3, 5, 20000},
      {1, 1, 9001},
      {7, 1, 8200},
      {1, 9, 8200, 3, 0.5f, 2.0f},
      {20, 30, 16384, 1, 2.0f, 1.0f},
  });
}

TEST_P(Gemm, RowsWithGaps) {
  check_all({
      {17, 33, 65, 3},
      {1, 40, 50, 5},
      {40, 1, 50, 5},
      {130, 70, 90, 32},
      {1, 300, 200, 7},
  });
}

TEST_P(Gemm, AlphaAndBeta) {
  for (const float alpha : {1.0f, -0.5f, 0.0f}) {
    for (const float beta : {0.0f, 1.0f, 0.25f}) {
      check_all({
          {5, 6, 7, 2, alpha, beta},
          {1, 60, 70, 0, alpha, beta},
          {60, 1, 70, 4, alpha, beta},
          {70, 90, 80, 0, alpha, beta},
      });
    }
  }
}

TEST_P(Gemm, EmptySums) {
  check_all({{3, 4, 0}, {3, 4, 0, 2, 1.0f, 0.5f}, {1, 1, 0}, {3, 4, 0, 0, 1.0f, 1.0f, 3}});
}

TEST_P(Gemm, EmptyOutputs) {
  check_all({{0, 4, 3}, {4, 0, 3}, {0, 0, 0}, {0, 4, 3, 0, 1.0f, 0.0f, 2}});
}

TEST_P(Gemm, Batches) {
  check_all({
      {4, 5, 6, 0, 1.0f, 0.0f, 1},
      {4, 5, 6, 2, 0.5f, 2.0f, 33},
      {1, 64, 64, 0, 1.0f, 0.0f, 9},
      {64, 1, 64, 0, 1.0f, 1.0f, 9},
      {70, 66, 68, 0, 1.0f, 0.0f, 5},
      {70, 66, 68, 1, 2.0f, 0.5f, 4},
      {5, 7, 9, 0, 0.0f, 0.5f, 3},
  });
}

std::string case_name(const ::testing::TestParamInfo<Gemm::ParamType>& info) {
  return std::string(name_of(std::get<0>(info.param))) + (std::get<1>(info.param) ? "_t" : "_n") +
         (std::get<2>(info.param) ? "t" : "n");
}

INSTANTIATE_TEST_SUITE_P(
    Dtypes,
    Gemm,
    ::testing::Combine(
        ::testing::Values(
            Dtype::float16, Dtype::bfloat16, Dtype::float32, Dtype::float64, Dtype::complex64),
        ::testing::Bool(),
        ::testing::Bool()),
    case_name);

TEST(GemmLarge, BlocksBeyondOne) {
  // Larger than the blocks in which 16-bit types are converted.
  check(Dtype::float16, {1030, 70, 1100, 1}, false, true);
  check(Dtype::bfloat16, {40, 1090, 1060, 1, 0.5f, 1.0f}, true, false);
  check(Dtype::float32, {600, 520, 510}, false, false);
}

TEST(GemmErrors, IntegersAreRefused) {
  int32_t values[3] = {};
  const GemmShape shape{1, 1, 1, false, false, 1, 1, 1};
  EXPECT_THROW(gemm(Dtype::int32, shape, 1, values, values + 1, 0, values + 2, nullptr), TypeError);
  EXPECT_THROW(gemm_workspace(Dtype::bool_, shape), TypeError);
}

std::vector<float> product_of_ones(Dtype dtype, int64_t size) {
  const GemmShape shape{size, size, size, false, false, size, size, size};
  std::vector<std::byte> a(size * size * size_of(dtype)), c(a.size());
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < size * size; ++i) {
      reinterpret_cast<T*>(a.data())[i] = T(1.0f);
    }
  });
  Bytes workspace(gemm_workspace(dtype, shape));
  gemm(dtype, shape, 1, a.data(), a.data(), 0, c.data(), workspace.get());
  std::vector<float> result(size * size);
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < size * size; ++i) {
      result[i] = static_cast<float>(widen(reinterpret_cast<T*>(c.data())[i]).real());
    }
  });
  return result;
}

TEST(GemmFork, ChildFinishes) {
  const std::vector<Dtype> dtypes = {
      Dtype::float16, Dtype::bfloat16, Dtype::float32, Dtype::float64, Dtype::complex64};
  for (const Dtype dtype : dtypes) {
    product_of_ones(dtype, 256); // starts the parent's threads
  }
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30); // ends a test that hangs by a signal
    for (const Dtype dtype : dtypes) {
      if (product_of_ones(dtype, 256) != std::vector<float>(256 * 256, 256.0f)) {
        _exit(1);
      }
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  // The parent goes on with all its threads.
  EXPECT_EQ(product_of_ones(Dtype::float32, 256), std::vector<float>(256 * 256, 256.0f));
}

TEST(GemmRepeat, SameBitsEachTime) {
  const GemmShape shape{300, 310, 320, false, true, 320, 320, 310};
  const GemmShape longer{20, 30, 30000, false, true, 30000, 30000, 30};
  std::mt19937 random(3);
  std::vector<float> a(30000 * 30);
  for (float& value : a) {
    value = random_value<float>(random);
  }
  for (const GemmShape& s : {shape, longer}) {
    std::vector<float> first(s.m * s.n), again(s.m * s.n);
    Bytes workspace(gemm_workspace(Dtype::float32, s));
    gemm(Dtype::float32, s, 1, a.data(), a.data(), 0, first.data(), workspace.get());
    for (int i = 0; i < 20; ++i) {
      gemm(Dtype::float32, s, 1, a.data(), a.data(), 0, again.data(), workspace.get());
      ASSERT_EQ(std::memcmp(first.data(), again.data(), first.size() * sizeof(float)), 0);
    }
  }
}

#if defined(__x86_64__)
// Each factor, and the sum, is subnormal. Whichever way a product takes, on however many threads,
// such numbers are zero in float32 and count in float64.
template <typename T>
void multiply_subnormals(int64_t m, int64_t n, int64_t k, bool transpose_a, bool flushes) {
  SCOPED_TRACE(testing::Message() << m << " x " << n << " x " << k << " in " << sizeof(T));
  const Dtype dtype = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;
  const T small = std::numeric_limits<T>::min() / 1024;
  std::vector<T> a(static_cast<size_t>(m * k), small);
  std::vector<T> b(static_cast<size_t>(k * n), T{1});
  std::vector<T> c(static_cast<size_t>(m * n), T{7});
  const GemmShape shape{m, n, k, transpose_a, false, transpose_a ? m : k, n, n};
  Bytes workspace(gemm_workspace(dtype, shape));
  gemm(dtype, shape, 1, a.data(), b.data(), 0, c.data(), workspace.get());
  const T expected = flushes ? T{0} : small * static_cast<T>(k);
  EXPECT_EQ(std::count(c.begin(), c.end(), expected), m * n);
}

TEST(Gemm, SubnormalsAreZeroInFloat32) {
  const FloatMode before = float_mode();
  for (const auto& [m, n, k] :
       {std::tuple{1, 1, 3}, {5, 7, 9}, {1, 300, 200}, {200, 210, 220}, {16, 16, 8192}}) {
    for (const bool transpose_a : {false, true}) {
      multiply_subnormals<float>(m, n, k, transpose_a, true);
      if (k < 1024) { // more of these sum up to a normal number
        multiply_subnormals<double>(m, n, k, transpose_a, false);
      }
    }
  }
  EXPECT_EQ(float_mode(), before);
}
#endif

} // namespace
} // namespace narrows::cpu
