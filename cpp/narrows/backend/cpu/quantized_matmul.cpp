// Products with quantized matrices. A few rows are multiplied by the codes directly. For many rows,
// tiles of the matrix are converted to float32 and multiplied by gemm().
#include <algorithm>
#include <bit>

#include "narrows/backend/cpu/gemm.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/quantized.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// The fewest rows for which making a tile pays.
constexpr int64_t kManyRows = 12;
// The size of a tile of the quantized matrix along its rows and along the summed dimension, and the
// number of result rows that are computed with it. All of it takes 5 MB.
constexpr int64_t kTileColumns = 512;
constexpr int64_t kTileDepth = 1024;
constexpr int64_t kTileRows = 512;
// The least number of codes for a thread.
constexpr int64_t kThreadNumbers = 1 << 15;
// Rows of codes that a thread multiplies by all rows of the left factor.
constexpr int64_t kColumnsAtOnce = 16;
// Columns whose sums a thread keeps at once when it adds rows of the quantized matrix.
constexpr int64_t kSumsAtOnce = 512;

constexpr int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// A call, or what its parameters say of it.
struct Product {
  const KernelId& id;
  const QuantizedMatmulParams& p;

  int64_t item_size() const {
    return size_of(id.out);
  }
  bool is_float() const {
    return id.out == Dtype::float32;
  }
  bool has_many_rows() const {
    return p.m >= kManyRows;
  }
  // Numbers of a row of the quantized matrix, and how many rows it has.
  int64_t length() const {
    return p.transpose ? p.k : p.n;
  }
  int64_t rows() const {
    return p.transpose ? p.n : p.k;
  }
  int64_t groups() const {
    return length() / p.group;
  }
  bool wants_sums() const {
    return is_affine(id) && p.transpose;
  }
};

// The places of the matrices of a product.
struct Factors {
  const std::byte* a;
  QuantizedNumbers b;
  std::byte* c;
};

// Few rows. The left factor is prepared for the products: as integers, or as float32 with the sums
// of its groups.
struct FewRows {
  Product product;
  QuantizedTile tile;

  bool in_integers() const {
    return product.p.transpose && tile.integer.products;
  }
  int64_t integers_size() const { // in bytes, of one row
    return in_integers() ? tile.integer.row_bytes(product.p.k, product.p.group) : 0;
  }
  int64_t values_size() const { // in floats, of one matrix
    return product.is_float() || in_integers() ? 0 : round_up(product.p.m * product.p.k, 16);
  }
  int64_t sums_size() const {
    return product.wants_sums() && !in_integers()
               ? round_up(product.p.m * product.groups() * kGroupSums, 16)
               : 0;
  }
  int64_t results_size() const {
    return product.is_float() ? 0 : round_up(product.p.m * product.p.n, 16);
  }
  int64_t scratch() const {
    return product.p.m * integers_size() +
           (values_size() + sums_size() + results_size()) * int64_t{sizeof(float)};
  }

  void run(const Factors& factors, void* scratch) const {
    const QuantizedMatmulParams& p = product.p;
    auto* integers = static_cast<std::byte*>(scratch);
    auto* values = reinterpret_cast<float*>(integers + p.m * integers_size());
    float* sums = values + values_size();
    float* results = product.is_float() ? reinterpret_cast<float*>(factors.c) : sums + sums_size();
    const float* left = product.is_float() ? reinterpret_cast<const float*>(factors.a) : values;
    if (in_integers()) {
      tile.integer.prepare(factors.a, product.id.out, p.m, p.k, p.group, integers);
      multiply_columns([&](int64_t m, int64_t rows, int64_t column, int64_t columns) {
        tile.integer.products(
            integers + m * integers_size(),
            p.k,
            rows,
            factors.b.from(column * product.groups()),
            columns,
            results + m * p.n + column,
            p.n);
      });
    } else {
      prepare_floats(factors.a, values, sums);
      if (p.transpose) {
        multiply_columns([&](int64_t m, int64_t rows, int64_t column, int64_t columns) {
          tile.products(
              {left + m * p.k, sums + m * product.groups() * kGroupSums, p.k},
              rows,
              factors.b.from(column * product.groups()),
              columns,
              results + m * p.n + column,
              p.n);
        });
      } else {
        add_rows(factors.b, left, results);
      }
    }
    if (!product.is_float()) {
      tile.store(results, p.m * p.n, product.id.out, factors.c);
    }
  }

 private:
  void prepare_floats(const std::byte* a, float* values, float* sums) const {
    const QuantizedMatmulParams& p = product.p;
    if (product.wants_sums()) {
      tile.prepare(
          a,
          product.id.out,
          p.m * product.groups(),
          p.group,
          product.is_float() ? nullptr : values,
          sums);
    } else if (!product.is_float()) {
      tile.widen(a, product.id.out, p.m * p.k, values);
    }
  }

  // Calls multiply(m, rows, column, columns) for parts of the result, on several threads. All rows
  // of the left factor use the same codes while they are in a cache.
  template <typename Multiply>
  void multiply_columns(Multiply&& multiply) const {
    const QuantizedMatmulParams& p = product.p;
    const int64_t grain = std::max<int64_t>(4, kThreadNumbers / p.k);
    parallel_for(p.n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += kColumnsAtOnce) {
        for (int64_t m = 0; m < p.m; m += kMostProductRows) {
          multiply(m, std::min(kMostProductRows, p.m - m), j, std::min(kColumnsAtOnce, end - j));
        }
      }
    });
  }

  void add_rows(const QuantizedNumbers& b, const float* left, float* results) const {
    const QuantizedMatmulParams& p = product.p;
    const int64_t groups = product.groups();
    const int64_t grain = std::max<int64_t>(1, kThreadNumbers / (p.k * p.group));
    const int64_t at_once = std::max<int64_t>(1, kSumsAtOnce / p.group);
    parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
      alignas(64) float sums[kMostProductRows * kSumsAtOnce];
      float factors[kMostProductRows];
      for (int64_t m = 0; m < p.m; m += kMostProductRows) {
        const int64_t rows = std::min(kMostProductRows, p.m - m);
        for (int64_t g = begin; g < end; g += at_once) {
          const int64_t length = std::min(at_once, end - g) * p.group;
          std::fill_n(sums, rows * length, 0.0f);
          for (int64_t k = 0; k < p.k; ++k) {
            for (int64_t row = 0; row < rows; ++row) {
              factors[row] = left[(m + row) * p.k + k];
            }
            tile.add_scaled(b.from(k * groups + g), length, factors, rows, sums);
          }
          for (int64_t row = 0; row < rows; ++row) {
            std::copy_n(sums + row * length, length, results + (m + row) * p.n + g * p.group);
          }
        }
      }
    });
  }
};

// Many rows: tiles of the quantized matrix, of the left factor and of the results. Factors and
// results that are float32 are used in place.
struct ManyRows {
  Product product;
  QuantizedTile tile;

  // Along what is summed over; whole groups.
  int64_t depth() const {
    return std::min(product.p.k, kTileDepth);
  }
  int64_t columns() const {
    return std::min(product.p.n, kTileColumns);
  }
  int64_t rows() const {
    return std::min(product.p.m, kTileRows);
  }
  int64_t b_size() const { // in floats
    return round_up(depth() * columns(), 16);
  }
  int64_t a_size() const {
    return product.is_float() ? 0 : round_up(rows() * depth(), 16);
  }
  int64_t c_size() const {
    return product.is_float() ? 0 : round_up(rows() * columns(), 16);
  }
  int64_t scratch() const {
    int64_t workspace = 0;
    each_shape([&](const GemmShape& shape, float beta) {
      workspace = std::max(workspace, gemm_workspace(Dtype::float32, shape, 1, beta));
    });
    return (b_size() + a_size() + c_size()) * int64_t{sizeof(float)} + workspace;
  }

  void run(const Factors& factors, void* scratch) const {
    const QuantizedMatmulParams& p = product.p;
    for (int64_t i = 0; i < p.m; i += kTileRows) {
      for (int64_t j = 0; j < p.n; j += kTileColumns) {
        const int64_t m = std::min(kTileRows, p.m - i);
        const int64_t n = std::min(kTileColumns, p.n - j);
        for (int64_t d = 0; d < p.k; d += kTileDepth) {
          multiply(factors, i, j, d, m, n, std::min(kTileDepth, p.k - d), scratch);
        }
        store(factors, i, j, m, n, scratch);
      }
    }
  }

 private:
  float* c_tile(void* scratch) const {
    return static_cast<float*>(scratch) + b_size() + a_size();
  }

  GemmShape shape_of(int64_t m, int64_t n, int64_t k) const {
    const QuantizedMatmulParams& p = product.p;
    const bool is_float = product.is_float();
    return {
        m,
        n,
        k,
        false,
        p.transpose != 0,
        is_float ? p.k : k,
        p.transpose ? k : n,
        is_float ? p.n : n};
  }

  // Calls use(shape, beta) for the products that come up.
  template <typename Use>
  void each_shape(Use&& use) const {
    const QuantizedMatmulParams& p = product.p;
    for (const int64_t m : {rows(), p.m % kTileRows}) {
      for (const int64_t n : {columns(), p.n % kTileColumns}) {
        for (const int64_t k : {depth(), p.k % kTileDepth}) {
          if (m > 0 && n > 0 && k > 0) {
            use(shape_of(m, n, k), 0.0f);
            use(shape_of(m, n, k), 1.0f);
          }
        }
      }
    }
  }

  void multiply(
      const Factors& factors,
      int64_t row,
      int64_t column,
      int64_t at,
      int64_t m,
      int64_t n,
      int64_t k,
      void* scratch) const {
    const QuantizedMatmulParams& p = product.p;
    auto* b = static_cast<float*>(scratch);
    p.transpose ? make_tile(factors.b, column, n, at, k, b)
                : make_tile(factors.b, at, k, column, n, b);
    const std::byte* first = factors.a + (row * p.k + at) * product.item_size();
    const auto* a = reinterpret_cast<const float*>(first);
    float* c = reinterpret_cast<float*>(factors.c) + row * p.n + column;
    if (!product.is_float()) {
      float* a_tile = b + b_size();
      parallel_for(m, std::max<int64_t>(1, kThreadNumbers / k), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          tile.widen(first + i * p.k * product.item_size(), product.id.out, k, a_tile + i * k);
        }
      });
      a = a_tile;
      c = c_tile(scratch);
    }
    gemm(
        Dtype::float32,
        shape_of(m, n, k),
        1,
        a,
        b,
        at == 0 ? 0.0f : 1.0f,
        c,
        c_tile(scratch) + c_size());
  }

  // `rows` rows of the quantized matrix, and of them `length` numbers.
  void make_tile(
      const QuantizedNumbers& numbers,
      int64_t first_row,
      int64_t rows,
      int64_t first,
      int64_t length,
      float* to) const {
    const int64_t group = product.p.group;
    const int64_t start = first_row * product.groups() + first / group;
    const int64_t grain = std::max<int64_t>(1, kThreadNumbers / length);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const QuantizedNumbers from = numbers.from(start + row * product.groups());
        tile.dequantize(from, length / group, Dtype::float32, to + row * length);
      }
    });
  }

  void store(
      const Factors& factors, int64_t row, int64_t column, int64_t m, int64_t n, void* scratch)
      const {
    if (product.is_float()) {
      return;
    }
    const float* from = c_tile(scratch);
    std::byte* to = factors.c + (row * product.p.n + column) * product.item_size();
    const int64_t distance = product.p.n * product.item_size();
    parallel_for(m, std::max<int64_t>(1, kThreadNumbers / n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        tile.store(from + i * n, n, product.id.out, to + i * distance);
      }
    });
  }
};

// Rows of the left factor that follow each other and are multiplied at once. With index arrays
// their number is known only when the work runs, so few numbers are possible: scratch for all of
// them can be planned.
int64_t rows_at_once(const QuantizedMatmulParams& p, int64_t rows) {
  if (!p.indexed || rows < kManyRows) {
    return rows;
  }
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::min(rows, kTileRows))));
}

int64_t scratch_of_rows(const KernelId& id, QuantizedMatmulParams p, int64_t rows) {
  p.m = rows;
  const Product product{id, p};
  const QuantizedTile tile = quantized_tile(id);
  return product.has_many_rows() ? ManyRows{product, tile}.scratch()
                                 : FewRows{product, tile}.scratch();
}

int64_t scratch_of(const KernelId& id, const QuantizedMatmulParams& p) {
  if (!p.indexed) {
    return scratch_of_rows(id, p, p.m);
  }
  const int64_t most = p.m * p.products;
  int64_t result = scratch_of_rows(id, p, std::min(most, kManyRows - 1));
  for (int64_t rows = rows_at_once(p, most); rows >= kManyRows; rows /= 2) {
    result = std::max(result, scratch_of_rows(id, p, rows));
  }
  return result;
}

void multiply(
    const KernelId& id,
    QuantizedMatmulParams p,
    const QuantizedTile& tile,
    Factors factors,
    int64_t rows,
    void* scratch) {
  while (rows > 0) {
    p.m = rows_at_once(p, rows);
    const Product product{id, p};
    if (product.has_many_rows()) {
      ManyRows{product, tile}.run(factors, scratch);
    } else {
      FewRows{product, tile}.run(factors, scratch);
    }
    rows -= p.m;
    factors.a += p.m * p.k * product.item_size();
    factors.c += p.m * p.n * product.item_size();
  }
}

void run_quantized_matmul(
    const KernelId& id, void* const* operands, const void* params, void* scratch) {
  const auto& p = *static_cast<const QuantizedMatmulParams*>(params);
  const Product product{id, p};
  const QuantizedTile tile = quantized_tile(id);
  const size_t indices = 1 + quantized_operands(id);
  const auto* lhs = static_cast<const uint32_t*>(p.indexed ? operands[indices] : nullptr);
  const auto* rhs = static_cast<const uint32_t*>(p.indexed ? operands[indices + 1] : nullptr);
  // An index out of range selects the last matrix, so that no other memory is read.
  const auto left = [&](int64_t i) { return lhs ? std::min<int64_t>(lhs[i], p.lhs_count - 1) : 0; };
  const auto right = [&](int64_t i) {
    return rhs ? std::min<int64_t>(rhs[i], p.rhs_count - 1) : 0;
  };
  const auto* a = static_cast<const std::byte*>(operands[0]);
  const QuantizedNumbers b = quantized_numbers(id, operands, 1, id.out);
  auto* c = static_cast<std::byte*>(operands[indices + (p.indexed ? 2 : 0)]);
  SmallScratch small;
  void* space = small.unless(planned_scratch(scratch_of(id, p)) ? scratch : nullptr);
  for (int64_t i = 0; i < p.products;) {
    // Neighbours on the left with the same matrix are the rows of one product.
    int64_t count = 1;
    while (i + count < p.products && right(i + count) == right(i) &&
           left(i + count) == left(i) + count) {
      ++count;
    }
    const Factors factors{
        a + left(i) * p.m * p.k * product.item_size(),
        b.from(right(i) * product.rows() * product.groups()),
        c + i * p.m * p.n * product.item_size()};
    multiply(id, p, tile, factors, count * p.m, space);
    i += count;
  }
}

int64_t quantized_matmul_scratch(const KernelId& id, std::span<const std::byte> params) {
  const auto& p = *reinterpret_cast<const QuantizedMatmulParams*>(params.data());
  return planned_scratch(scratch_of(id, p));
}

} // namespace

const Row quantized_matmul_row = {
    run_quantized_matmul,
    [](const KernelId& id) {
      return id.out == Dtype::float16 || id.out == Dtype::bfloat16 || id.out == Dtype::float32;
    },
    quantized_matmul_scratch};

} // namespace narrows::cpu
