// Products with quantized matrices. A few rows are multiplied by the codes directly. For many rows,
// parts of the matrix become float32 in a cache.
#include <algorithm>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/quantized.h"
#include "narrows/core/divided_up.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// With fewer rows, adding up rows of the quantized matrix is faster than making panels of it.
constexpr int64_t kLeastPanelRowsOfSums = kMostProductRows + 1;
// The most rows of a block of the result, and how often one may be halved for another thread.
constexpr int64_t kBlockRows = 528;
constexpr int64_t kHalvings = 3;
// Rows of the left factor that a thread has in float32 at once, and how far apart these are.
constexpr int64_t kLeftRows = 96;
constexpr int64_t kLeftDistance = kPanelDepth + 16;
// The least number of codes for a thread.
constexpr int64_t kThreadNumbers = 1 << 15;
// Rows of codes that a thread multiplies by all rows of the left factor.
constexpr int64_t kColumnsAtOnce = 16;
// Columns whose sums a thread keeps at once when it adds rows of the quantized matrix.
constexpr int64_t kSumsAtOnce = 512;

constexpr int64_t round_up(int64_t n, int64_t unit) {
  return divided_up(n, unit) * unit;
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

// Many rows. Threads take blocks of the result, one after another: some rows, and as many columns
// as panels have at once. A sum has the same order whatever the blocks and the threads are.
struct Blocks {
  int64_t rows; // of the result
  int64_t columns;
  int64_t most_rows = kBlockRows; // of a block

  int64_t least_rows() const {
    return most_rows >> kHalvings;
  }
  int64_t strips() const {
    return divided_up(columns, kPanelColumns);
  }
  int64_t count(int64_t block_rows) const {
    return strips() * divided_up(rows, block_rows);
  }
  int64_t threads() const {
    return std::min<int64_t>(thread_count(), count(least_rows()));
  }

  // Calls use(part, row, rows, column) for each block; calls with one `part` follow each other.
  template <typename Use>
  void run(Use&& use) const {
    int64_t block_rows = most_rows;
    while (block_rows > least_rows() && count(block_rows) < 2 * thread_count()) {
      block_rows /= 2;
    }
    const int64_t blocks = count(block_rows);
    const int64_t parts = std::min(threads(), blocks);
    parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        for (int64_t i = blocks * part / parts; i < blocks * (part + 1) / parts; ++i) {
          const int64_t row = i / strips() * block_rows;
          use(part, row, std::min(block_rows, rows - row), i % strips() * kPanelColumns);
        }
      }
    });
  }
};

// A block of the result, in the dtype of the numbers.
void store_block(
    const Product& product,
    const QuantizedTile& tile,
    const float* block,
    int64_t row,
    int64_t rows,
    int64_t column,
    std::byte* c) {
  const int64_t n = product.p.n;
  std::byte* to = c + (row * n + column) * product.item_size();
  for (int64_t i = 0; i < rows; ++i, to += n * product.item_size()) {
    tile.store(block + i * kPanelColumns, std::min(kPanelColumns, n - column), product.id.out, to);
  }
}

// In integers: at most `most_rows()` rows of the left factor are prepared at once, for all threads.
// Each thread has scratch of its own for panels and a block.
struct ManyRowsInIntegers {
  Product product;
  QuantizedTile tile;

  int64_t tiles(int64_t rows) const {
    return divided_up(rows, tile.code_panels.rows);
  }
  int64_t most_rows() const {
    return std::min(product.p.m, tile.code_panels.most_rows);
  }
  int64_t tile_bytes() const {
    return tile.code_panels.tile_bytes(product.p.k, product.p.group);
  }
  int64_t left_bytes() const {
    return tiles(most_rows()) * tile_bytes();
  }
  int64_t panels_bytes() const {
    const int64_t depth = std::min(product.p.k, kPanelDepth);
    return tile.code_panels.panels_bytes(depth, product.p.group, kPanelColumns);
  }
  int64_t thread_bytes() const {
    return panels_bytes() + most_rows() * kPanelColumns * int64_t{sizeof(float)};
  }
  Blocks blocks(int64_t rows) const {
    return {rows, product.p.n, tile.code_panels.most_rows};
  }
  int64_t scratch() const {
    return left_bytes() + blocks(product.p.m).threads() * thread_bytes();
  }

  void run(const Factors& factors, void* scratch) const {
    const QuantizedMatmulParams& p = product.p;
    auto* left = static_cast<std::byte*>(scratch);
    const int64_t tile_rows = tile.code_panels.rows;
    for (int64_t first = 0; first < p.m; first += most_rows()) {
      const int64_t count = std::min(most_rows(), p.m - first);
      const int64_t grain = std::max<int64_t>(1, kThreadNumbers / (p.k * tile_rows));
      parallel_for(tiles(count), grain, [&](int64_t begin, int64_t end) {
        const int64_t row = begin * tile_rows;
        tile.code_panels.prepare(
            factors.a + (first + row) * p.k * product.item_size(),
            product.id.out,
            std::min(count, end * tile_rows) - row,
            p.k,
            p.group,
            left + begin * tile_bytes());
      });
      blocks(count).run([&](int64_t part, int64_t row, int64_t rows, int64_t column) {
        std::byte* own = left + left_bytes() + part * thread_bytes();
        auto* block = reinterpret_cast<float*>(own + panels_bytes());
        const std::byte* from = left + row / tile_rows * tile_bytes();
        multiply_block(factors.b, from, rows, column, own, block);
        store_block(product, tile, block, first + row, rows, column, factors.c);
      });
    }
  }

 private:
  void multiply_block(
      const QuantizedNumbers& b,
      const std::byte* left,
      int64_t rows,
      int64_t column,
      std::byte* panels,
      float* block) const {
    const QuantizedMatmulParams& p = product.p;
    const int64_t columns = std::min(kPanelColumns, p.n - column);
    std::fill_n(block, rows * kPanelColumns, 0.0f);
    for (int64_t at = 0; at < p.k; at += kPanelDepth) {
      const int64_t groups = std::min(kPanelDepth, p.k - at) / p.group;
      const QuantizedNumbers numbers = b.from(column * product.groups() + at / p.group);
      tile.code_panels.of_rows(numbers, product.groups(), columns, groups, panels);
      tile.code_panels.multiply(
          left, p.k, at, rows, groups, p.group, panels, columns, block, kPanelColumns);
    }
  }
};

// In float32. Each thread has scratch of its own for panels of a part of the quantized matrix, for
// rows of the left factor, and for the block.
struct ManyRows {
  Product product;
  QuantizedTile tile;

  int64_t panels_size() const { // in floats
    return std::min(product.p.k, kPanelDepth) * kPanelColumns;
  }
  int64_t left_size() const {
    return std::min(product.p.m, kLeftRows) * kLeftDistance;
  }
  int64_t block_size() const {
    return std::min(product.p.m, kBlockRows) * kPanelColumns;
  }
  int64_t thread_size() const {
    return panels_size() + left_size() + block_size();
  }
  int64_t scratch() const {
    return Blocks{product.p.m, product.p.n}.threads() * thread_size() * int64_t{sizeof(float)};
  }

  void run(const Factors& factors, void* scratch) const {
    const Blocks blocks{product.p.m, product.p.n};
    blocks.run([&](int64_t part, int64_t row, int64_t rows, int64_t column) {
      auto* own = static_cast<float*>(scratch) + part * thread_size();
      multiply_block(factors, row, rows, column, own);
    });
  }

 private:
  void multiply_block(
      const Factors& factors, int64_t row, int64_t rows, int64_t column, float* panels) const {
    const QuantizedMatmulParams& p = product.p;
    const int64_t columns = std::min(kPanelColumns, p.n - column);
    float* left = panels + panels_size();
    float* block = left + left_size();
    for (int64_t at = 0; at < p.k; at += kPanelDepth) {
      const int64_t depth = std::min(kPanelDepth, p.k - at);
      make_panels(factors.b, column, columns, at, depth, panels);
      for (int64_t i = 0; i < rows; i += kLeftRows) {
        const int64_t count = std::min(kLeftRows, rows - i);
        for (int64_t r = 0; r < count; ++r) {
          const std::byte* from = factors.a + ((row + i + r) * p.k + at) * product.item_size();
          tile.widen(from, product.id.out, depth, left + r * kLeftDistance);
        }
        tile.panels.multiply(
            left,
            kLeftDistance,
            count,
            depth,
            panels,
            columns,
            block + i * kPanelColumns,
            kPanelColumns,
            at > 0);
      }
    }
    store_block(product, tile, block, row, rows, column, factors.c);
  }

  void make_panels(
      const QuantizedNumbers& b,
      int64_t column,
      int64_t columns,
      int64_t at,
      int64_t depth,
      float* panels) const {
    const int64_t groups = product.groups();
    const int64_t group = product.p.group;
    if (product.p.transpose) {
      tile.panels.of_rows(
          b.from(column * groups + at / group), groups, columns, depth / group, panels);
    } else {
      tile.panels.of_columns(
          b.from(at * groups + column / group), groups, depth, columns / group, panels);
    }
  }
};

// From so many rows on the matrix becomes panels.
int64_t least_panel_rows(const QuantizedMatmulParams& p, const QuantizedTile& tile) {
  return p.transpose ? tile.least_panel_rows : kLeastPanelRowsOfSums;
}

// Calls use(way) with the way in which a product is computed.
template <typename Use>
auto with_way(const Product& product, const QuantizedTile& tile, Use&& use) {
  const QuantizedMatmulParams& p = product.p;
  if (p.m < least_panel_rows(p, tile)) {
    return use(FewRows{product, tile});
  }
  if (p.transpose && tile.code_panels.multiply) {
    return use(ManyRowsInIntegers{product, tile});
  }
  return use(ManyRows{product, tile});
}

int64_t scratch_of_rows(
    const KernelId& id, QuantizedMatmulParams p, const QuantizedTile& tile, int64_t rows) {
  p.m = rows;
  return with_way({id, p}, tile, [](const auto& way) { return way.scratch(); });
}

// With arrays of indices, how many rows follow each other is known only when the work runs. More
// rows never take less scratch, unless they are many and the others few.
int64_t scratch_of(const KernelId& id, const QuantizedMatmulParams& p, const QuantizedTile& tile) {
  if (!p.indexed) {
    return scratch_of_rows(id, p, tile, p.m);
  }
  const int64_t most = p.m * p.products;
  const int64_t few = std::min(most, least_panel_rows(p, tile) - 1);
  return std::max(scratch_of_rows(id, p, tile, most), scratch_of_rows(id, p, tile, few));
}

void multiply(
    const KernelId& id,
    QuantizedMatmulParams p,
    const QuantizedTile& tile,
    const Factors& factors,
    int64_t rows,
    void* scratch) {
  p.m = rows;
  with_way({id, p}, tile, [&](const auto& way) { way.run(factors, scratch); });
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
  void* space = small.unless(planned_scratch(scratch_of(id, p, tile)) ? scratch : nullptr);
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
  return planned_scratch(scratch_of(id, p, quantized_tile(id)));
}

} // namespace

const Row quantized_matmul_row = {
    run_quantized_matmul,
    [](const KernelId& id) {
      return id.out == Dtype::float16 || id.out == Dtype::bfloat16 || id.out == Dtype::float32;
    },
    quantized_matmul_scratch};

} // namespace narrows::cpu
