// The drivers of elementwise operations, selection, casts and fills on every kind of layout,
// against an element-by-element walk.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "metal_kernels/arange.h"
#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/dispatch.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu {
namespace {

struct Layout {
  const char* name;
  std::vector<int64_t> shape;
  std::vector<std::vector<int64_t>> strides; // two inputs, output
};

std::vector<Layout> layouts() {
  std::vector<Layout> list = {
      {"scalar", {}, {{}, {}, {}}},
      {"one element", {1}, {{7}, {0}, {1}}},
      {"empty", {0}, {{1}, {1}, {1}}},
      {"scalar broadcast", {70001}, {{1}, {0}, {1}}},
      {"both broadcast", {5000}, {{0}, {0}, {1}}},
      {"strided", {5001}, {{2}, {3}, {1}}},
      {"reversed", {5001}, {{-1}, {1}, {1}}},
      {"strided output", {5001}, {{1}, {2}, {3}}},
      {"rows broadcast", {37, 301}, {{301, 1}, {0, 1}, {301, 1}}},
      {"columns broadcast", {37, 3001}, {{3001, 1}, {1, 0}, {3001, 1}}},
      {"transposed", {301, 307}, {{1, 301}, {307, 1}, {307, 1}}},
      {"transposed both", {70, 300}, {{1, 70}, {1, 70}, {300, 1}}},
      {"transposed output", {301, 64}, {{64, 1}, {64, 1}, {1, 301}}},
      {"short rows", {3000, 3}, {{4, 1}, {3, 1}, {3, 1}}},
      {"short rows strided", {3000, 2}, {{8, 2}, {2, 1}, {2, 1}}},
      {"channels last", {4, 900, 3}, {{2700, 1, 900}, {2700, 3, 1}, {2700, 3, 1}}},
      {"short transposed", {3, 5000}, {{1, 3}, {5000, 1}, {5000, 1}}},
      {"permuted", {20, 30, 40}, {{1, 20, 600}, {40, 800, 1}, {1200, 40, 1}}},
      {"middle broadcast", {6, 50, 70}, {{70, 0, 1}, {3500, 70, 1}, {3500, 70, 1}}},
      {"slice output", {50, 60}, {{60, 1}, {1, 50}, {100, 1}}},
      {"many small",
       {5, 2, 3, 2, 4, 3, 2, 7},
       {{20160, 10080, 3360, 1680, 420, 140, 70, 10},
        {0, 1, 0, 2, 0, 4, 0, 12},
        {2016, 1008, 336, 168, 42, 14, 7, 1}}},
  };
  for (int64_t n : {1, 2, 7, 2047, 2048, 2049, 4096, 100000}) {
    list.push_back({"contiguous", {n}, {{1}, {1}, {1}}});
  }
  for (int64_t n : {2047, 2048, 2049}) {
    list.push_back({"padded rows", {7, n}, {{n + 5, 1}, {n, 1}, {n, 1}}});
  }
  return list;
}

ElementwiseParams params_of(const Layout& layout, int inputs) {
  ElementwiseParams params{};
  params.ndim = static_cast<int32_t>(layout.shape.size());
  params.inputs = inputs;
  params.size = 1;
  for (size_t d = 0; d < layout.shape.size(); ++d) {
    params.shape[d] = layout.shape[d];
    params.size *= layout.shape[d];
    for (int k = 0; k < inputs; ++k) {
      params.strides[k][d] = layout.strides[static_cast<size_t>(k % 2)][d];
    }
    params.strides[inputs][d] = layout.strides[2][d];
  }
  return params;
}

// Calls f(offsets) for each element, with its offset in every operand.
template <typename F>
void for_each_element(const ElementwiseParams& params, F&& f) {
  for (int64_t i = 0; i < params.size; ++i) {
    int64_t rest = i;
    int64_t offsets[NARROWS_MAX_OPERANDS] = {};
    for (int d = params.ndim - 1; d >= 0; --d) {
      const int64_t index = rest % params.shape[d];
      rest /= params.shape[d];
      for (int k = 0; k <= params.inputs; ++k) {
        offsets[k] += index * params.strides[k][d];
      }
    }
    f(offsets);
  }
}

// A buffer that holds the layout's elements, with room for negative strides.
struct Operand {
  static constexpr int64_t kBefore = 1 << 13;
  static constexpr int64_t kAfter = 1 << 17;
  std::vector<uint64_t> words;
  void* first;
  explicit Operand(int64_t item_size)
      : words(kBefore + kAfter),
        first(reinterpret_cast<std::byte*>(words.data()) + kBefore * item_size) {
  }
};

template <typename T>
void randomize(Operand& operand, uint32_t seed) {
  std::mt19937 random(seed);
  T* values = reinterpret_cast<T*>(operand.words.data());
  for (size_t i = 0; i < operand.words.size() * 8 / sizeof(T); ++i) {
    const auto v = static_cast<int>(random() % 100u);
    if constexpr (std::is_same_v<T, bool>) {
      values[i] = v % 2 != 0;
    } else if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
      values[i] = T(static_cast<float>(v));
    } else {
      values[i] = static_cast<T>(v);
    }
  }
}

template <typename T>
struct Operands {
  Operand condition{1};
  Operand a{sizeof(T)};
  Operand b{sizeof(T)};
  Operand out{sizeof(T)};
  Operand want{sizeof(T)};
  Operands() {
    randomize<bool>(condition, 1);
    randomize<T>(a, 2);
    randomize<T>(b, 3);
  }
};

template <typename T>
void check_layout(Operands<T>& data, const Layout& layout, Dtype dtype, KernelFamily family) {
  const int inputs = family == KernelFamily::cast ? 1 : family == KernelFamily::select ? 3 : 2;
  const ElementwiseParams params = params_of(layout, inputs);
  const std::string where = std::string(layout.name) + " " + std::string(name_of(dtype));
  auto& [condition, a, b, out, want] = data;
  std::fill(out.words.begin(), out.words.end(), 0);
  std::fill(want.words.begin(), want.words.end(), 0);
  T* expected = static_cast<T*>(want.first);
  const T* left = static_cast<const T*>(a.first);
  const T* right = static_cast<const T*>(b.first);
  const bool* choice = static_cast<const bool*>(condition.first);
  const KernelId id{family, static_cast<uint8_t>(ElementwiseOp::maximum), dtype, dtype};
  if (family == KernelFamily::cast) {
    for_each_element(params, [&](const int64_t* at) { expected[at[1]] = left[at[0]]; });
    void* const operands[] = {a.first, out.first};
    run(id, operands, &params);
  } else if (family == KernelFamily::select) {
    for_each_element(params, [&](const int64_t* at) {
      expected[at[3]] = choice[at[0]] ? left[at[1]] : right[at[2]];
    });
    void* const operands[] = {condition.first, a.first, b.first, out.first};
    run(id, operands, &params);
  } else {
    for_each_element(params, [&](const int64_t* at) {
      const T x = left[at[0]];
      const T y = right[at[1]];
      if constexpr (std::is_same_v<T, complex64_t>) {
        expected[at[2]] = x.real() > y.real() ? x : y;
      } else if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
        expected[at[2]] = static_cast<float>(x) > static_cast<float>(y) ? x : y;
      } else {
        expected[at[2]] = x > y ? x : y;
      }
    });
    void* const operands[] = {a.first, b.first, out.first};
    run(id, operands, &params);
  }
  EXPECT_TRUE(out.words == want.words) << where;
}

TEST(Drivers, WalkEveryLayout) {
  for (int d = 0; d < kDtypeCount; ++d) {
    const Dtype dtype = static_cast<Dtype>(d);
    dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      Operands<T> data;
      for (const Layout& layout : layouts()) {
        check_layout<T>(data, layout, dtype, KernelFamily::elementwise);
        check_layout<T>(data, layout, dtype, KernelFamily::select);
        check_layout<T>(data, layout, dtype, KernelFamily::cast);
      }
    });
  }
}

TEST(Drivers, ConvertWhileWalking) {
  const Layout layout{"transposed", {130, 70}, {{1, 130}, {70, 1}, {70, 1}}};
  const ElementwiseParams params = params_of(layout, 1);
  Operand in(2);
  Operand out(8);
  randomize<bfloat16_t>(in, 5);
  void* const operands[] = {in.first, out.first};
  run({KernelFamily::cast, 0, bfloat16, int64}, operands, &params);
  for_each_element(params, [&](const int64_t* at) {
    const float want = static_cast<float>(static_cast<const bfloat16_t*>(in.first)[at[0]]);
    EXPECT_EQ(static_cast<const int64_t*>(out.first)[at[1]], static_cast<int64_t>(want));
  });
}

TEST(Drivers, WorkInPlace) {
  for (int64_t n : {1, 100, 5000, 200000}) {
    for (Dtype dtype : {float32, float16}) {
      std::vector<float> x(static_cast<size_t>(n), 3.0f);
      std::vector<float16_t> h(static_cast<size_t>(n), float16_t(3.0f));
      void* data = dtype == float32 ? static_cast<void*>(x.data()) : h.data();
      void* const operands[] = {data, data, data};
      const Layout layout{"contiguous", {n}, {{1}, {1}, {1}}};
      const ElementwiseParams params = params_of(layout, 2);
      const auto op = static_cast<uint8_t>(ElementwiseOp::multiply);
      run({KernelFamily::elementwise, op, dtype, dtype}, operands, &params);
      for (size_t i = 0; i < x.size(); ++i) {
        ASSERT_EQ(dtype == float32 ? x[i] : static_cast<float>(h[i]), 9.0f);
      }
    }
  }
}

TEST(Drivers, CompareHalves) {
  std::vector<bfloat16_t> a(3000, bfloat16_t(1.0f));
  std::vector<bfloat16_t> b(3000, bfloat16_t(2.0f));
  std::vector<uint8_t> out(3000, 7);
  void* const operands[] = {a.data(), b.data(), out.data()};
  const Layout layout{"contiguous", {3000}, {{1}, {1}, {1}}};
  const ElementwiseParams params = params_of(layout, 2);
  const auto op = static_cast<uint8_t>(ElementwiseOp::less);
  run({KernelFamily::elementwise, op, bfloat16, bool_}, operands, &params);
  EXPECT_EQ(out, std::vector<uint8_t>(3000, 1));
}

TEST(Drivers, FillAndCount) {
  for (int64_t n : {0, 1, 3, 100003}) {
    std::vector<uint32_t> out(static_cast<size_t>(n) + 1, 5);
    constexpr uint32_t pattern = 0x01020304u;
    const FillParams fill{n, pattern};
    void* const places[] = {out.data()};
    run({KernelFamily::fill, 0, uint32, uint32}, places, &fill);
    EXPECT_EQ(std::count(out.begin(), out.end(), pattern), n);
    EXPECT_EQ(out.back(), 5u);

    std::vector<float> floats(static_cast<size_t>(n));
    const ArangeParams params{n, 0.5, 0.25, 7, -2, {}, {}};
    void* const operands[] = {floats.data()};
    run({KernelFamily::arange, 0, float32, float32}, operands, &params);
    std::vector<int8_t> bytes(static_cast<size_t>(n));
    void* const byte_operands[] = {bytes.data()};
    run({KernelFamily::arange, 0, int8, int8}, byte_operands, &params);
    for (size_t i = 0; i < floats.size(); ++i) {
      EXPECT_EQ(floats[i], static_cast<float>(0.5 + 0.25 * static_cast<double>(i)));
      EXPECT_EQ(bytes[i], static_cast<int8_t>(7 - 2 * static_cast<int64_t>(i)));
    }
  }
}

TEST(Drivers, NameTheirKernels) {
  const auto has = [](ElementwiseOp op, Dtype in, Dtype out) {
    return has_kernel({KernelFamily::elementwise, static_cast<uint8_t>(op), in, out});
  };
  EXPECT_TRUE(has(ElementwiseOp::add, bfloat16, bfloat16));
  EXPECT_TRUE(has(ElementwiseOp::abs, complex64, float32));
  EXPECT_TRUE(has(ElementwiseOp::less, complex64, bool_));
  EXPECT_FALSE(has(ElementwiseOp::less, float32, float32));
  EXPECT_FALSE(has(ElementwiseOp::sin, int32, int32));
  EXPECT_FALSE(has(ElementwiseOp::erf, complex64, complex64));
  EXPECT_FALSE(has(ElementwiseOp::bitwise_and, float32, float32));
  EXPECT_FALSE(has(ElementwiseOp::negative, bool_, bool_));
}

} // namespace
} // namespace narrows::cpu
