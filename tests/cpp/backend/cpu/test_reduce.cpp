#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "metal_kernels/reduce.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/kernels/reduce_tiles.h"
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

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A strided view of a buffer and the axes to reduce.
struct Layout {
  const char* name;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  std::vector<int> axes;
  int64_t offset = 0;
};

std::ostream& operator<<(std::ostream& out, const Layout& layout) {
  return out << layout.name;
}

int64_t buffer_size(const Layout& layout) {
  int64_t last = layout.offset;
  for (size_t d = 0; d < layout.shape.size(); ++d) {
    last += std::max<int64_t>(0, (layout.shape[d] - 1) * layout.strides[d]);
  }
  return last + 1;
}

ReduceParams params_of(const Layout& layout) {
  ReduceParams p{};
  p.out_size = p.reduce_size = 1;
  for (size_t d = 0; d < layout.shape.size(); ++d) {
    const bool reduced =
        std::find(layout.axes.begin(), layout.axes.end(), static_cast<int>(d)) != layout.axes.end();
    auto& ndim = reduced ? p.reduced_ndim : p.kept_ndim;
    (reduced ? p.reduced_shape : p.kept_shape)[ndim] = layout.shape[d];
    (reduced ? p.reduced_strides : p.kept_strides)[ndim] = layout.strides[d];
    (reduced ? p.reduce_size : p.out_size) *= layout.shape[d];
    ++ndim;
  }
  return p;
}

int64_t offset_of(int64_t position, int ndim, const int64_t* shape, const int64_t* strides) {
  int64_t offset = 0;
  for (int d = ndim; d-- > 0;) {
    offset += position % shape[d] * strides[d];
    position /= shape[d];
  }
  return offset;
}

// The elements that output i is made of, in row-major order.
std::vector<Number> elements_of(const TypedBuffer& in, const Layout& layout, int64_t i) {
  const ReduceParams p = params_of(layout);
  const int64_t kept = layout.offset + offset_of(i, p.kept_ndim, p.kept_shape, p.kept_strides);
  std::vector<Number> elements;
  for (int64_t r = 0; r < p.reduce_size; ++r) {
    elements.push_back(
        in.get(kept + offset_of(r, p.reduced_ndim, p.reduced_shape, p.reduced_strides)));
  }
  return elements;
}

Dtype result_dtype(ReduceOp op, Dtype in) {
  if (op == ReduceOp::all || op == ReduceOp::any) {
    return bool_;
  }
  if (op == ReduceOp::sum || op == ReduceOp::prod) {
    if (in == bool_ || in == int8 || in == int16) {
      return int32;
    }
    if (in == uint8 || in == uint16) {
      return uint32;
    }
  }
  return in;
}

bool is_nan(Number x) {
  return std::isnan(x.real()) || std::isnan(x.imag());
}

bool is_beyond(Number a, Number b, bool max) {
  if (is_nan(a) || is_nan(b)) {
    return is_nan(b) && !is_nan(a);
  }
  const auto key = [&](Number x) { return std::pair(x.real(), x.imag()); };
  return max ? key(b) > key(a) : key(b) < key(a);
}

size_t first_extreme(const std::vector<Number>& elements, bool max) {
  size_t best = 0;
  for (size_t r = 1; r < elements.size(); ++r) {
    if (is_beyond(elements[best], elements[r], max)) {
      best = r;
    }
  }
  return best;
}

// Sums and products of integers wrap around in the result's type.
void set_expected(TypedBuffer& out, int64_t i, ReduceOp op, const std::vector<Number>& elements) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::prod: {
      if (!is_inexact(out.dtype())) {
        uint64_t result = op == ReduceOp::prod;
        for (const Number x : elements) {
          const auto value = static_cast<uint64_t>(static_cast<int64_t>(x.real()));
          result = op == ReduceOp::sum ? result + value : result * value;
        }
        std::memcpy(out.data() + i * size_of(out.dtype()), &result, size_of(out.dtype()));
        return;
      }
      Number result = op == ReduceOp::prod;
      for (const Number x : elements) {
        result = op == ReduceOp::sum ? result + x : result * x;
      }
      out.set(i, result);
      return;
    }
    case ReduceOp::min:
    case ReduceOp::max:
      out.set(i, elements[first_extreme(elements, op == ReduceOp::max)]);
      return;
    case ReduceOp::all:
      out.set(i, std::all_of(elements.begin(), elements.end(), [](Number x) { return x != 0.0; }));
      return;
    case ReduceOp::any:
      out.set(i, std::any_of(elements.begin(), elements.end(), [](Number x) { return x != 0.0; }));
      return;
  }
}

void reduce(ReduceOp op, const TypedBuffer& in, const Layout& layout, TypedBuffer& out) {
  const ReduceParams p = params_of(layout);
  void* operands[] = {
      const_cast<char*>(in.data()) + layout.offset * size_of(in.dtype()), out.data()};
  const KernelId id{KernelFamily::reduce, static_cast<uint8_t>(op), in.dtype(), out.dtype()};
  testing::run_call(id, operands, p);
}

void arg_reduce(ArgReduceOp op, const TypedBuffer& in, const Layout& layout, TypedBuffer& out) {
  const ReduceParams p = params_of(layout);
  void* operands[] = {
      const_cast<char*>(in.data()) + layout.offset * size_of(in.dtype()), out.data()};
  const KernelId id{KernelFamily::arg_reduce, static_cast<uint8_t>(op), in.dtype(), uint32};
  testing::run_call(id, operands, p);
}

Layout row(int64_t n) {
  return {"row", {n}, {1}, {0}};
}

const Layout kLayouts[] = {
    {"one element", {}, {}, {}},
    {"one element per output", {5}, {1}, {}},
    {"reduced axes of size 1", {7, 1}, {1, 1}, {1}},
    {"strided copy", {9, 1}, {3, 1}, {1}},
    {"short row", {3}, {1}, {0}},
    {"vector and tail", {67}, {1}, {0}},
    {"rows", {5, 131}, {131, 1}, {1}},
    {"rows with gaps", {5, 100}, {131, 1}, {1}},
    {"many short rows", {2100, 3}, {3, 1}, {1}},
    {"columns", {131, 5}, {5, 1}, {0}},
    {"narrow columns", {131, 2}, {2, 1}, {0}},
    {"wide columns", {6, 2100}, {2100, 1}, {0}},
    {"tall columns", {700, 33}, {33, 1}, {0}},
    {"outer and inner", {4, 9, 35}, {315, 35, 1}, {0, 2}},
    {"middle", {4, 35, 9}, {315, 9, 1}, {1}},
    {"kept outer and inner, four dimensions", {3, 4, 5, 6}, {120, 30, 6, 1}, {1, 2}},
    {"alternating, four dimensions", {3, 4, 5, 6}, {120, 30, 6, 1}, {0, 2}},
    {"all of three dimensions", {4, 9, 35}, {315, 35, 1}, {0, 1, 2}},
    {"transposed rows", {131, 5}, {1, 131}, {1}},
    {"transposed columns", {131, 5}, {1, 131}, {0}},
    {"permuted, reduced in the middle", {6, 50, 20}, {1, 6, 300}, {1}},
    {"every other element", {5, 60}, {120, 2}, {1}},
    {"every third column", {60, 20}, {60, 3}, {0}},
    {"reversed", {5, 100}, {100, -1}, {1}, 99},
    {"reversed columns", {40, 5}, {-5, 1}, {0}, 39 * 5},
    {"broadcast along the reduced axis", {5, 40}, {1, 0}, {1}},
    {"broadcast along the kept axis", {40, 5}, {0, 1}, {1}},
    {"broadcast scalar", {3, 40}, {0, 0}, {1}},
    {"pieces of one row", {300001}, {1}, {0}},
    {"pieces of columns", {100003, 3}, {3, 1}, {0}},
    {"pieces beyond the stack", {400, 1000}, {1000, 1}, {0}},
    {"pieces of a permuted array", {7, 200, 300}, {1, 2100, 7}, {1, 2}},
};

class ReduceLayouts : public ::testing::TestWithParam<Layout> {};

TEST_P(ReduceLayouts, MatchReference) {
  const Layout& layout = GetParam();
  const ReduceParams p = params_of(layout);
  for (const Dtype dtype : kAllDtypes) {
    TypedBuffer in(dtype, buffer_size(layout));
    for (int k = 0; k < operation_count(KernelFamily::reduce); ++k) {
      const auto op = static_cast<ReduceOp>(k);
      op == ReduceOp::prod ? fill_units(in, 1) : fill_small(in, 1);
      TypedBuffer out(result_dtype(op, dtype), p.out_size);
      TypedBuffer expected(out.dtype(), p.out_size);
      reduce(op, in, layout, out);
      for (int64_t i = 0; i < p.out_size; ++i) {
        set_expected(expected, i, op, elements_of(in, layout, i));
        ASSERT_TRUE(same(out.get(i), expected.get(i)))
            << "op " << k << " " << name_of(dtype) << " output " << i << ": " << out.get(i)
            << " instead of " << expected.get(i);
      }
    }
  }
}

TEST_P(ReduceLayouts, ArgReduceFindsFirst) {
  const Layout& layout = GetParam();
  const ReduceParams p = params_of(layout);
  for (const Dtype dtype : kAllDtypes) {
    TypedBuffer in(dtype, buffer_size(layout));
    fill_small(in, 2);
    for (const bool max : {false, true}) {
      TypedBuffer out(uint32, p.out_size);
      arg_reduce(max ? ArgReduceOp::argmax : ArgReduceOp::argmin, in, layout, out);
      for (int64_t i = 0; i < p.out_size; ++i) {
        const auto expected = static_cast<double>(first_extreme(elements_of(in, layout, i), max));
        ASSERT_EQ(out.get(i).real(), expected) << name_of(dtype) << " output " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, ReduceLayouts, ::testing::ValuesIn(kLayouts));

// Lengths around those of vectors, unrolled loops, blocks and pieces.
TEST(Reduce, EveryLength) {
  std::vector<int64_t> lengths(140);
  std::iota(lengths.begin(), lengths.end(), 1);
  for (const int64_t n : {256, 1024, 2048, 8192, 16384, 131072, 262144}) {
    lengths.insert(lengths.end(), {n - 1, n, n + 1});
  }
  for (const Dtype dtype : {int8, float16, bfloat16, float32, float64, complex64}) {
    for (const int64_t n : lengths) {
      TypedBuffer in(dtype, n);
      fill_small(in, static_cast<unsigned>(n));
      for (const auto op : {ReduceOp::sum, ReduceOp::max, ReduceOp::any}) {
        TypedBuffer out(result_dtype(op, dtype), 1);
        TypedBuffer expected(out.dtype(), 1);
        reduce(op, in, row(n), out);
        set_expected(expected, 0, op, elements_of(in, row(n), 0));
        ASSERT_TRUE(same(out.get(0), expected.get(0))) << name_of(dtype) << " length " << n;
      }
    }
  }
}

TEST(Reduce, NothingGivesTheIdentity) {
  const Layout nothing{"nothing", {3, 0}, {1, 1}, {1}};
  for (const Dtype dtype : kAllDtypes) {
    const TypedBuffer in(dtype, 1);
    for (const auto op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::all, ReduceOp::any}) {
      TypedBuffer out(result_dtype(op, dtype), 3);
      std::memset(out.data(), 0x55, 3 * size_of(out.dtype()));
      reduce(op, in, nothing, out);
      const double expected = op == ReduceOp::prod || op == ReduceOp::all;
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(out.get(i), Number(expected)) << name_of(dtype);
      }
    }
  }
}

TEST(Reduce, NoOutputs) {
  const TypedBuffer in(float32, 1);
  TypedBuffer out(float32, 0);
  reduce(ReduceOp::sum, in, {"no outputs", {0, 5}, {5, 1}, {1}}, out);
}

TEST(Reduce, NanPropagatesFromEveryPlace) {
  for (const Dtype dtype : {float16, bfloat16, float32, float64, complex64}) {
    for (const int64_t n : {1, 5, 16, 67, 300}) {
      for (int64_t at = 0; at < n; at += 1 + n / 23) {
        TypedBuffer in(dtype, n);
        fill_small(in, 3);
        in.set(at, kNan);
        TypedBuffer out(dtype, 1);
        TypedBuffer index(uint32, 1);
        for (const bool max : {false, true}) {
          reduce(max ? ReduceOp::max : ReduceOp::min, in, row(n), out);
          EXPECT_TRUE(is_nan(out.get(0))) << name_of(dtype) << " " << at << " of " << n;
          arg_reduce(max ? ArgReduceOp::argmax : ArgReduceOp::argmin, in, row(n), index);
          EXPECT_EQ(index.get(0).real(), static_cast<double>(at));
        }
        // The same down a column of 20.
        TypedBuffer wide(dtype, n * 20);
        fill_small(wide, 4);
        wide.set(at * 20 + 18, kNan);
        const Layout columns{"columns", {n, 20}, {20, 1}, {0}};
        TypedBuffer outs(dtype, 20);
        TypedBuffer indices(uint32, 20);
        reduce(ReduceOp::max, wide, columns, outs);
        arg_reduce(ArgReduceOp::argmin, wide, columns, indices);
        EXPECT_TRUE(is_nan(outs.get(18)));
        EXPECT_FALSE(is_nan(outs.get(17)));
        EXPECT_EQ(indices.get(18).real(), static_cast<double>(at));
      }
    }
  }
}

TEST(Reduce, FirstNanAndInfinities) {
  TypedBuffer in(float32, 4);
  TypedBuffer index(uint32, 1);
  const double infinity = std::numeric_limits<double>::infinity();
  const double values[] = {-infinity, kNan, infinity, kNan};
  for (int i = 0; i < 4; ++i) {
    in.set(i, values[i]);
  }
  arg_reduce(ArgReduceOp::argmax, in, row(4), index);
  EXPECT_EQ(index.get(0), Number(1));
  for (int i = 0; i < 4; ++i) {
    in.set(i, -infinity);
  }
  arg_reduce(ArgReduceOp::argmax, in, row(4), index);
  EXPECT_EQ(index.get(0), Number(0));
  TypedBuffer out(float32, 1);
  reduce(ReduceOp::max, in, row(4), out);
  EXPECT_EQ(out.get(0), Number(-infinity));
}

TEST(Reduce, IntegersWrapAround) {
  TypedBuffer in(int32, 3);
  in.set(0, 2147483647);
  in.set(1, 1);
  in.set(2, 5);
  TypedBuffer out(int32, 1);
  reduce(ReduceOp::sum, in, row(3), out);
  EXPECT_EQ(out.get(0), Number(-2147483643.0));
}

TEST(Reduce, Float32SumsAreAccurate) {
  const int64_t n = int64_t{1} << 22;
  TypedBuffer in(float32, n);
  auto* values = reinterpret_cast<float*>(in.data());
  std::mt19937 random(5);
  double exact = 0;
  for (int64_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(random()) * 0x1p-32f;
    exact += values[i];
  }
  TypedBuffer out(float32, 1);
  reduce(ReduceOp::sum, in, row(n), out);
  EXPECT_NEAR(out.get(0).real() / exact, 1, 2e-7);

  // Down columns.
  const int64_t rows = n / 16;
  TypedBuffer outs(float32, 16);
  reduce(ReduceOp::sum, in, {"columns", {rows, 16}, {16, 1}, {0}}, outs);
  double total = 0;
  for (int i = 0; i < 16; ++i) {
    total += outs.get(i).real();
  }
  EXPECT_NEAR(total / exact, 1, 2e-7);
}

TEST(Reduce, SixteenBitFloatsAccumulateInFloat) {
  for (const Dtype dtype : {float16, bfloat16}) {
    TypedBuffer in(dtype, 5000);
    for (int64_t i = 0; i < in.size(); ++i) {
      in.set(i, 1);
    }
    TypedBuffer out(dtype, 1);
    reduce(ReduceOp::sum, in, row(in.size()), out);
    TypedBuffer expected(dtype, 1);
    expected.set(0, 5000);
    EXPECT_EQ(out.get(0), expected.get(0));
  }
}

#if defined(__x86_64__)
// The calls above run the best instruction set; these loops run all of them.
TEST(Reduce, InstructionSetsAgree) {
  using Find = ReduceTile (*)(ReduceOp, Dtype);
  using FindArg = ArgReduceTile (*)(ArgReduceOp, Dtype);
  const Find find[] = {v2::reduce_tile, v3::reduce_tile, v4::reduce_tile};
  const FindArg find_arg[] = {v2::arg_reduce_tile, v3::arg_reduce_tile, v4::arg_reduce_tile};
  const int64_t rows = 37;
  const int64_t columns = 203;
  for (int level = 2; level <= cpu_isa_level(); ++level) {
    for (const Dtype dtype : kAllDtypes) {
      TypedBuffer in(dtype, rows * columns);
      for (int k = 0; k < operation_count(KernelFamily::reduce); ++k) {
        const auto op = static_cast<ReduceOp>(k);
        op == ReduceOp::prod ? fill_units(in, 6) : fill_small(in, 6);
        const ReduceTile tile = find[level - 2](op, dtype);
        for (const bool across : {false, true}) {
          const Layout layout{"", {rows, columns}, {columns, 1}, {across ? 1 : 0}};
          const ReduceParams p = params_of(layout);
          std::vector<char> accumulators(p.out_size * tile.accumulator_size);
          TypedBuffer out(result_dtype(op, dtype), p.out_size);
          TypedBuffer expected(out.dtype(), p.out_size);
          tile.begin(accumulators.data(), p.out_size);
          tile.add(
              in.data(),
              p.out_size,
              p.kept_strides[0],
              p.reduce_size,
              p.reduced_strides[0],
              accumulators.data());
          tile.finish(accumulators.data(), p.out_size, out.data(), 1);
          for (int64_t i = 0; i < p.out_size; ++i) {
            set_expected(expected, i, op, elements_of(in, layout, i));
            ASSERT_TRUE(same(out.get(i), expected.get(i)))
                << "v" << level << " op " << k << " " << name_of(dtype) << " output " << i;
          }
        }
      }
      for (const bool max : {false, true}) {
        const ArgReduceTile tile =
            find_arg[level - 2](max ? ArgReduceOp::argmax : ArgReduceOp::argmin, dtype);
        std::vector<char> keys(columns * tile.key_size);
        std::vector<uint32_t> indices(columns);
        tile.begin(in.data(), columns, 1, 0, keys.data(), indices.data());
        tile.add(in.data(), columns, 1, rows, columns, 0, keys.data(), indices.data());
        for (int64_t j = 0; j < columns; ++j) {
          const Layout layout{"", {rows, columns}, {columns, 1}, {0}};
          ASSERT_EQ(indices[j], first_extreme(elements_of(in, layout, j), max))
              << "v" << level << " " << name_of(dtype) << " column " << j;
        }
      }
    }
  }
}
#endif

} // namespace
} // namespace narrows::cpu
