// Reductions, scans, softmax, random bits and matrix products.
#include "harness.h"
#include "metal_kernels/sort.h"

namespace narrows::testing {
namespace {

class RowKernels : public KernelTest {};

struct ReduceWalk {
  const char* name;
  std::vector<int64_t> kept_shape, kept_strides, reduced_shape, reduced_strides;
  int64_t offset = 0;
};
const ReduceWalk kReduceWalks[] = {
    {"aligned rows", {5}, {1312}, {1310}, {1}, 0},
    {"short rows", {7, 3}, {111, 37}, {37}, {1}, 1},
    {"columns", {70}, {1}, {50}, {70}, 0},
    {"wide columns", {4, 64}, {4096, 1}, {9}, {80}, 0},
    {"wide columns in pieces", {48}, {1}, {401}, {48}, 0},
    {"columns of a box", {3, 33}, {1056, 1}, {4, 8}, {264, 33}, 0},
    {"everything", {}, {}, {5000}, {1}, 0},
    {"scattered", {4, 3}, {1, 120}, {5, 6}, {24, 4}, 2},
    {"everything in pieces", {}, {}, {20011}, {1}, 0},
    {"long columns", {5}, {1}, {3001}, {6}, 0},
    {"single elements", {9}, {2}, {1}, {1}, 0},
};
constexpr int64_t kReduceElements = 20020;

ReduceParams params_of(const ReduceWalk& walk) {
  ReduceParams p{};
  p.out_size = p.reduce_size = 1;
  p.kept_ndim = static_cast<int32_t>(walk.kept_shape.size());
  p.reduced_ndim = static_cast<int32_t>(walk.reduced_shape.size());
  for (int d = 0; d < p.kept_ndim; ++d) {
    p.out_size *= p.kept_shape[d] = walk.kept_shape[d];
    p.kept_strides[d] = walk.kept_strides[d];
  }
  for (int d = 0; d < p.reduced_ndim; ++d) {
    p.reduce_size *= p.reduced_shape[d] = walk.reduced_shape[d];
    p.reduced_strides[d] = walk.reduced_strides[d];
  }
  return p;
}

Dtype reduced_dtype(ReduceOp op, Dtype in) {
  if (op == ReduceOp::all || op == ReduceOp::any) {
    return bool_;
  }
  if ((op == ReduceOp::sum || op == ReduceOp::prod) && !is_inexact(in) && size_of(in) < 4) {
    return is_unsigned(in) ? uint32 : int32;
  }
  return in;
}

TEST_P(RowKernels, reduce) {
  for (Dtype in : kAllDtypes) {
    TypedBuffer small(in, kReduceElements), units(in, kReduceElements), varied(in, kReduceElements);
    fill_small(small, 1);
    fill_units(units, 2);
    fill_varied(varied, 3, false);
    for (int op = 0; op < operation_count(KernelFamily::reduce); ++op) {
      const auto reduce = static_cast<ReduceOp>(op);
      const KernelId kernel{
          KernelFamily::reduce, static_cast<uint8_t>(op), in, reduced_dtype(reduce, in)};
      const TypedBuffer& values = reduce == ReduceOp::sum    ? small
                                  : reduce == ReduceOp::prod ? units
                                                             : varied;
      for (const ReduceWalk& walk : kReduceWalks) {
        const ReduceParams params = params_of(walk);
        expect_launch_same(
            kernel,
            walk.name,
            {memory_of(values), Memory(kernel.out, params.out_size)},
            {walk.offset, 0},
            params,
            default_tolerance(kernel.out));
      }
    }
  }
}

TEST_P(RowKernels, extremes_with_nan) {
  for (Dtype in : {float16, bfloat16, float32, float64}) {
    TypedBuffer varied(in, kReduceElements);
    fill_varied(varied, 3);
    for (const ReduceOp op : {ReduceOp::min, ReduceOp::max, ReduceOp::all, ReduceOp::any}) {
      const KernelId kernel{
          KernelFamily::reduce, static_cast<uint8_t>(op), in, reduced_dtype(op, in)};
      for (const ReduceWalk& walk : kReduceWalks) {
        const ReduceParams params = params_of(walk);
        expect_launch_same(
            kernel,
            walk.name,
            {memory_of(varied), Memory(kernel.out, params.out_size)},
            {walk.offset, 0},
            params,
            {0, 0});
      }
    }
  }
}

TEST_P(RowKernels, arg_reduce) {
  for (Dtype in : kAllDtypes) {
    TypedBuffer ties(in, kReduceElements), varied(in, kReduceElements);
    fill_small(ties, 1);
    fill_varied(varied, 5);
    for (uint8_t op = 0; op < 2; ++op) {
      for (const ReduceWalk& walk : kReduceWalks) {
        for (const TypedBuffer* values : {&ties, &varied}) {
          const ReduceParams params = params_of(walk);
          expect_launch_same(
              {KernelFamily::arg_reduce, op, in, uint32},
              walk.name,
              {memory_of(*values), Memory(uint32, params.out_size)},
              {walk.offset, 0},
              params,
              {0, 0});
        }
      }
    }
  }
}

TEST_P(RowKernels, scan) {
  const ScanParams shapes[] = {{3, 1100, 1, 0, 0}, {5, 100, 1, 0, 0}, {2, 9, 40, 0, 0}};
  for (Dtype in : kAllDtypes) {
    for (int op = 0; op < operation_count(KernelFamily::scan); ++op) {
      const auto scan = static_cast<ScanOp>(op);
      if (scan == ScanOp::logaddexp && !is_inexact(in)) {
        continue;
      }
      const Dtype out = scan == ScanOp::sum && in == bool_ ? int32 : in;
      for (ScanParams params : shapes) {
        const int64_t size = params.outer * params.length * params.inner;
        TypedBuffer values(in, size);
        if (scan == ScanOp::prod) {
          fill_units(values, 4);
        } else {
          fill_small(values, 4);
        }
        // A long logarithm of a sum collects rounding errors.
        Tolerance tolerance = default_tolerance(out);
        if (scan == ScanOp::logaddexp) {
          tolerance.relative *= 10;
          tolerance.phases = true;
        }
        for (params.reverse = 0; params.reverse < 2; ++params.reverse) {
          for (params.inclusive = 0; params.inclusive < 2; ++params.inclusive) {
            expect_launch_same(
                {KernelFamily::scan, static_cast<uint8_t>(op), in, out},
                concat_message(params.length, " x ", params.inner),
                {memory_of(values), Memory(out, size)},
                {0, 0},
                params,
                tolerance);
          }
        }
      }
    }
  }
}

// The order of sorted elements is unique; that of partitions is not.
TEST_P(RowKernels, sort) {
  for (Dtype in : kAllDtypes) {
    for (const int64_t length : {1, 2, 33, 300, 1024, 1025, 2050, 5000}) {
      const SortParams params{2, length, 0, 0, length, 0};
      TypedBuffer ties(in, 2 * length), varied(in, 2 * length);
      fill_small(ties, 1);
      fill_varied(varied, 5);
      for (const SortOp op : {SortOp::sort, SortOp::argsort}) {
        for (const TypedBuffer* values : {&ties, &varied}) {
          const Dtype out = op == SortOp::sort ? in : uint32;
          expect_launch_same(
              {KernelFamily::sort, static_cast<uint8_t>(op), in, out},
              concat_message("2 x ", length),
              {memory_of(*values), Memory(out, 2 * length)},
              {0, 0},
              params,
              {0, 0});
        }
      }
    }
  }
}

TEST_P(RowKernels, softmax_and_logsumexp) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (Dtype dtype : {float16, bfloat16, float32, float64, complex64}) {
    for (const int64_t length : {1, 32, 33, 1500, 1504, 16384, 40000}) {
      const RowParams params{8, length};
      TypedBuffer values(dtype, params.rows * length);
      fill_varied(values, 6, false);
      if (!is_complex(dtype)) {
        // Rows with an infinity, a NaN, and nothing but -inf.
        values.set(length, kInfinity);
        values.set(3 * length - 1, -kInfinity);
        values.set(3 * length, std::nan(""));
        for (int64_t i = 0; i < length; ++i) {
          values.set(4 * length + i, -kInfinity);
        }
      }
      for (const KernelFamily family : {KernelFamily::softmax, KernelFamily::logsumexp}) {
        const bool whole = family == KernelFamily::softmax;
        expect_launch_same(
            {family, 0, dtype, dtype},
            concat_message(length),
            {memory_of(values), Memory(dtype, whole ? params.rows * length : params.rows)},
            {0, 0},
            params,
            default_tolerance(dtype));
      }
    }
  }
}

TEST_P(RowKernels, random_bits) {
  TypedBuffer keys(uint32, 6);
  fill_varied(keys, 8);
  for (const int64_t bytes : {1, 2, 3, 4, 7, 8, 12, 13, 20, 1024, 4099}) {
    const RandomBitsParams params{3, bytes};
    expect_launch_same(
        {KernelFamily::random_bits, 0, uint32, uint8},
        concat_message(bytes),
        {memory_of(keys), Memory(uint8, 3 * bytes)},
        {0, 0},
        params,
        {0, 0});
  }
}

struct GemmCase {
  int64_t m, n, k, batch;
  float alpha, beta;
  bool broadcast_b;
};

TEST_P(RowKernels, matmul) {
  const GemmCase cases[] = {
      {1, 1, 1, 1, 1, 0, false},
      {70, 65, 33, 1, 1, 0, false},
      {5, 130, 40, 3, 1, 0, true},
      {17, 9, 50, 2, -0.5f, 2, false}};
  for (Dtype dtype : {float16, bfloat16, float32, float64, complex64}) {
    if (dtype == float64 && !gpu_has_float64()) {
      continue;
    }
    for (const GemmCase& shape : cases) {
      for (int transposes = 0; transposes < 4; ++transposes) {
        MatmulParams p{};
        p.m = shape.m;
        p.n = shape.n;
        p.k = shape.k;
        p.transpose_a = (transposes & 1) != 0;
        p.transpose_b = (transposes & 2) != 0;
        p.lda = (p.transpose_a ? p.m : p.k) + 2;
        p.ldb = (p.transpose_b ? p.k : p.n) + 1;
        p.ldc = p.n;
        p.alpha = shape.alpha;
        p.beta = shape.beta;
        const int64_t a_size = (p.transpose_a ? p.k : p.m) * p.lda;
        const int64_t b_size = (p.transpose_b ? p.n : p.k) * p.ldb;
        const int64_t c_size = p.m * p.n;
        if (shape.batch > 1) {
          // Every matrix of a is used twice: along an outer dimension of the batch its stride is
          // zero.
          p.batch_ndim = 2;
          p.batch_shape[0] = 2;
          p.batch_shape[1] = shape.batch;
          p.batch_strides[0][1] = a_size;
          p.batch_strides[1][0] = shape.broadcast_b ? 0 : shape.batch * b_size;
          p.batch_strides[1][1] = shape.broadcast_b ? 0 : b_size;
          p.batch_strides[2][0] = shape.batch * c_size;
          p.batch_strides[2][1] = c_size;
        }
        TypedBuffer a(dtype, shape.batch * a_size), b(dtype, 2 * shape.batch * b_size);
        TypedBuffer c(dtype, 2 * shape.batch * c_size);
        fill_small(a, 1);
        fill_small(b, 2);
        fill_small(c, 3);
        std::vector<Memory> operands{memory_of(a), memory_of(b), memory_of(c)};
        expect_same_on_both(
            concat_message("matmul ", name_of(dtype), " ", shape.m, " ", transposes),
            operands,
            {0, 0, 0},
            [&](Encoder& encoder, std::span<const Operand> places) {
              run_call(encoder, {KernelFamily::matmul, 0, dtype, dtype}, places, p);
            },
            default_tolerance(dtype));
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(RowKernels)

} // namespace
} // namespace narrows::testing
