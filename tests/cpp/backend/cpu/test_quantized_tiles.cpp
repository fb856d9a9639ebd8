// The products in integers of every instruction set that the processor has. Tiles that it lacks are
// computed.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "backend/cpu/amx_model.h"
#include "metal_kernels/quantized.h"
#include "narrows/backend/cpu/integer_isa.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"
#include "narrows/core/kernel_families.h"

#if defined(__x86_64__) || defined(__aarch64__)

namespace narrows::cpu {
namespace {

struct Variant {
  std::string name;
  IntegerTiles (*tiles)(const KernelId& id, bool is_exact);
};

#if defined(__x86_64__)
template <CodePanelTile (*panels_of)(int bits)>
IntegerTiles with_model_of_tiles(const KernelId& id, bool is_exact) {
  IntegerTiles tiles = v3::integer_tiles(id, is_exact);
  if (tiles.panels.multiply) {
    tiles.panels = panels_of(id.bits);
  }
  return tiles;
}

std::vector<Variant> variants() {
  std::vector<Variant> found;
  if (cpu_isa_level() >= 3) {
    found.push_back({"v3", v3::integer_tiles});
    found.push_back({"tiles, computed", with_model_of_tiles<amx_model::byte_panels_of>});
    found.push_back({"tiles of pairs, computed", with_model_of_tiles<amx_model::paired_panels_of>});
    if (__builtin_cpu_supports("avxvnni")) {
      found.push_back({"v3_vnni", v3_vnni::integer_tiles});
    }
  }
  if (cpu_isa_level() >= 4) {
    found.push_back({"v4", v4::integer_tiles});
  }
  if (integer_isa() >= IntegerIsa::v4_vnni) {
    found.push_back({"v4_vnni", v4_vnni::integer_tiles});
  }
  if (integer_isa() == IntegerIsa::v4_amx) {
    found.push_back({"v4_amx", v4_amx::integer_tiles});
  }
  return found;
}
#else
std::vector<Variant> variants() {
  std::vector<Variant> found;
  if (integer_isa() >= IntegerIsa::dot) {
    found.push_back({"dot", dot::integer_tiles});
  }
  if (integer_isa() == IntegerIsa::i8mm) {
    found.push_back({"i8mm", i8mm::integer_tiles});
  }
  return found;
}
#endif

KernelId affine(int bits, int64_t group, Dtype dtype) {
  KernelId id{KernelFamily::quantized_matmul, 0, dtype, dtype};
  id.mode = NARROWS_QUANTIZED_AFFINE;
  id.bits = static_cast<uint8_t>(bits);
  id.group = static_cast<decltype(id.group)>(group);
  return id;
}

// A matrix of random codes, scales and biases, and rows of random numbers.
struct Example {
  int bits;
  int64_t group;
  int64_t length;
  int64_t columns;
  int64_t rows;
  std::vector<uint8_t> codes;
  std::vector<float> scales, biases, x;
  std::vector<double> matrix;

  Example(int bits_, int64_t group_, int64_t groups, int64_t columns_, int64_t rows_)
      : bits(bits_), group(group_), length(group_ * groups), columns(columns_), rows(rows_) {
    std::mt19937 random(static_cast<unsigned>(bits * 1000 + group + groups));
    std::uniform_real_distribution<float> unit(-1, 1);
    codes.resize(static_cast<size_t>(columns * length * bits / 8));
    for (uint8_t& code : codes) {
      code = static_cast<uint8_t>(random());
    }
    scales.resize(static_cast<size_t>(columns * groups));
    biases.resize(scales.size());
    for (size_t i = 0; i < scales.size(); ++i) {
      scales[i] = unit(random) / 64;
      biases[i] = unit(random);
    }
    x.resize(static_cast<size_t>(rows * length));
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = unit(random) * (i % 97 == 0 ? 50 : 1);
    }
    matrix.resize(static_cast<size_t>(columns * length));
    for (int64_t i = 0; i < columns * length; ++i) {
      matrix[static_cast<size_t>(i)] = decoded(i / length, i % length);
    }
  }

  int64_t groups() const {
    return length / group;
  }
  QuantizedNumbers numbers() const {
    return {
        reinterpret_cast<const std::byte*>(codes.data()),
        reinterpret_cast<const std::byte*>(scales.data()),
        reinterpret_cast<const std::byte*>(biases.data()),
        Dtype::float32,
        group,
        bits};
  }
  double number(int64_t column, int64_t k) const {
    return matrix[static_cast<size_t>(column * length + k)];
  }
  double decoded(int64_t column, int64_t k) const {
    const int64_t first = (column * length + k) * bits;
    int code = 0;
    for (int64_t bit = 0; bit < bits; ++bit) {
      const int64_t at = first + bit;
      code |= (codes[static_cast<size_t>(at / 8)] >> (at % 8) & 1) << bit;
    }
    const auto i = static_cast<size_t>(column * groups() + k / group);
    return static_cast<double>(scales[i]) * code + static_cast<double>(biases[i]);
  }

  // Half a step of the integers at each number, and what float32 rounds.
  void expect_product(const std::vector<float>& out, int64_t out_row, double steps) const {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        double product = 0;
        double bound = 0;
        for (int64_t g = 0; g < groups(); ++g) {
          double largest = 0;
          double magnitudes = 0;
          for (int64_t k = g * group; k < (g + 1) * group; ++k) {
            const double value = x[static_cast<size_t>(row * length + k)];
            const double w = number(column, k);
            product += value * w;
            bound += 1e-6 * std::abs(value * w);
            largest = std::max(largest, std::abs(value));
            magnitudes += std::abs(w) + std::abs(w - number(column, g * group));
          }
          bound += largest / steps / 2 * magnitudes;
        }
        const double found = out[static_cast<size_t>(row * out_row + column)];
        ASSERT_NEAR(found, product, bound)
            << bits << " bits, groups of " << group << ", length " << length << ", row " << row
            << " of " << rows << ", column " << column;
      }
    }
  }
};

std::vector<float> few_rows(const IntegerTile& tile, const Example& e) {
  std::vector<std::byte> left(static_cast<size_t>(e.rows * tile.row_bytes(e.length, e.group)));
  tile.prepare(e.x.data(), Dtype::float32, e.rows, e.length, e.group, left.data());
  std::vector<float> out(static_cast<size_t>(e.rows * e.columns));
  tile.products(left.data(), e.length, e.rows, e.numbers(), e.columns, out.data(), e.columns);
  return out;
}

std::vector<float> by_panels(const CodePanelTile& tile, const Example& e) {
  const int64_t tiles = (e.rows + tile.rows - 1) / tile.rows;
  std::vector<std::byte> left(static_cast<size_t>(tiles * tile.tile_bytes(e.length, e.group)));
  tile.prepare(e.x.data(), Dtype::float32, e.rows, e.length, e.group, left.data());
  std::vector<std::byte> panels(
      static_cast<size_t>(tile.panels_bytes(kPanelDepth, e.group, kPanelColumns)));
  std::vector<float> out(static_cast<size_t>(e.rows * kPanelColumns));
  for (int64_t at = 0; at < e.length; at += kPanelDepth) {
    const int64_t groups = std::min(kPanelDepth, e.length - at) / e.group;
    tile.of_rows(e.numbers().from(at / e.group), e.groups(), e.columns, groups, panels.data());
    tile.multiply(
        left.data(),
        e.length,
        at,
        e.rows,
        groups,
        e.group,
        panels.data(),
        e.columns,
        out.data(),
        kPanelColumns);
  }
  return out;
}

// Processors without such instructions have no variants.
class QuantizedTiles : public testing::Test {
 protected:
  void SetUp() override {
    if (variants_.empty()) {
      GTEST_SKIP() << "no products in integers";
    }
  }
  const std::vector<Variant> variants_ = variants();
};

constexpr int kAllBits[] = {1, 2, 3, 4, 5, 6, 8};

TEST_F(QuantizedTiles, ProductsOfFewRows) {
  for (const Variant& variant : variants_) {
    SCOPED_TRACE(variant.name);
    for (const int bits : kAllBits) {
      for (const int64_t group : {32, 64, 128}) {
        for (const int64_t groups : {1, 3, 17}) {
          for (const int64_t rows : {1, 2, 3, 4}) {
            const Example example(bits, group, groups, 5, rows);
            const KernelId id = affine(bits, group, Dtype::float32);
            for (const bool is_exact : {false, true}) {
              const IntegerTiles tiles = variant.tiles(id, is_exact);
              ASSERT_EQ(tiles.panels.multiply == nullptr, is_exact);
              const double steps = is_exact ? 8323071 : 32511;
              example.expect_product(few_rows(tiles.few_rows, example), 5, steps);
              if (HasFatalFailure()) {
                return;
              }
            }
          }
        }
      }
    }
  }
}

TEST_F(QuantizedTiles, ProductsOfManyRows) {
  for (const Variant& variant : variants_) {
    SCOPED_TRACE(variant.name);
    for (const int bits : kAllBits) {
      for (const int64_t group : {32, 64, 128}) {
        for (const int64_t groups : {1, 3, 11}) {
          for (const auto& [columns, rows] : {std::pair{128, 7}, {37, 1}, {9, 16}, {64, 37}}) {
            const Example example(bits, group, groups, columns, rows);
            const KernelId id = affine(bits, group, Dtype::float32);
            const std::vector<float> out = by_panels(variant.tiles(id, false).panels, example);
            example.expect_product(out, kPanelColumns, 32511);
            if (HasFatalFailure()) {
              return;
            }
          }
        }
      }
    }
  }
}

// Integers are the same, and so is the order in which groups are added up.
TEST_F(QuantizedTiles, FewRowsHaveTheSameBits) {
  for (const Variant& variant : variants_) {
    SCOPED_TRACE(variant.name);
    for (const int mode : {NARROWS_QUANTIZED_MXFP4, NARROWS_QUANTIZED_NVFP4}) {
      const int64_t group = mode == NARROWS_QUANTIZED_MXFP4 ? 32 : 16;
      for (const bool is_exact : {false, true}) {
        KernelId id = affine(4, group, Dtype::float32);
        id.mode = static_cast<decltype(id.mode)>(mode);
        const Example example(4, group, 37, 5, 4);
        std::vector<uint8_t> scales(example.scales.size());
        for (size_t i = 0; i < scales.size(); ++i) {
          scales[i] = static_cast<uint8_t>(48 + i % 64);
        }
        const auto multiply = [&](const IntegerTile& tile) {
          QuantizedNumbers numbers = example.numbers();
          numbers.scales = reinterpret_cast<const std::byte*>(scales.data());
          numbers.biases = nullptr;
          numbers.scale_dtype = Dtype::uint8;
          std::vector<std::byte> left(
              static_cast<size_t>(4 * tile.row_bytes(example.length, group)));
          tile.prepare(example.x.data(), Dtype::float32, 4, example.length, group, left.data());
          std::vector<float> out(20);
          tile.products(left.data(), example.length, 4, numbers, 5, out.data(), 5);
          std::vector<uint32_t> bits(20);
          std::memcpy(bits.data(), out.data(), sizeof(float) * out.size());
          return bits;
        };
        ASSERT_EQ(
            multiply(variant.tiles(id, is_exact).few_rows),
            multiply(variants_[0].tiles(id, is_exact).few_rows));
      }
    }
  }
}

} // namespace
} // namespace narrows::cpu

#endif
