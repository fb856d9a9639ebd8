// Quantized numbers, and products with quantized matrices.
#include <algorithm>
#include <cstdlib>

#include "harness.h"
#include "metal_kernels/quantized.h"

namespace narrows::testing {
namespace {

class QuantizedKernels : public KernelTest {};

// The CPU keeps all bits of float32 in products, as the GPU's kernels do.
[[maybe_unused]] const bool kIsExact = setenv("NARROWS_EXACT", "1", 1) == 0;

struct Way {
  int64_t mode, bits, group;
};
const Way kWays[] = {
    {NARROWS_QUANTIZED_AFFINE, 1, 32},
    {NARROWS_QUANTIZED_AFFINE, 2, 64},
    {NARROWS_QUANTIZED_AFFINE, 3, 32},
    {NARROWS_QUANTIZED_AFFINE, 4, 32},
    {NARROWS_QUANTIZED_AFFINE, 4, 64},
    {NARROWS_QUANTIZED_AFFINE, 4, 128},
    {NARROWS_QUANTIZED_AFFINE, 5, 32},
    {NARROWS_QUANTIZED_AFFINE, 6, 64},
    {NARROWS_QUANTIZED_AFFINE, 8, 32},
    {NARROWS_QUANTIZED_MXFP4, 4, 32},
    {NARROWS_QUANTIZED_MXFP8, 8, 32},
    {NARROWS_QUANTIZED_NVFP4, 4, 16}};

bool is_affine(const Way& way) {
  return way.mode == NARROWS_QUANTIZED_AFFINE;
}

KernelId kernel_of(KernelFamily family, const Way& way, Dtype in, Dtype out) {
  KernelId id{family, 0, in, out};
  id.bits = static_cast<uint8_t>(way.bits);
  id.group = static_cast<uint8_t>(way.group);
  id.mode = static_cast<uint8_t>(way.mode);
  return id;
}

std::string text_of(const Way& way) {
  return concat_message("mode ", way.mode, " bits ", way.bits, " group ", way.group);
}

// Any codes, and scales and biases of ordinary size.
std::vector<Memory> quantized_of(const Way& way, Dtype dtype, int64_t numbers) {
  TypedBuffer codes(uint32, numbers * way.bits / 32);
  for (int64_t i = 0; i < codes.size(); ++i) {
    auto word = static_cast<uint32_t>((i + 1) * 2654435761u);
    if (way.mode == NARROWS_QUANTIZED_MXFP8) {
      word &= 0xbfbfbfbfu; // no code of NaN, and none that is much larger than the others
    }
    std::memcpy(codes.data() + 4 * i, &word, 4);
  }
  const int64_t groups = numbers / way.group;
  std::vector<Memory> result{memory_of(codes)};
  if (!is_affine(way)) {
    TypedBuffer scales(uint8, groups);
    for (int64_t i = 0; i < groups; ++i) {
      scales.set(i, static_cast<double>((way.group == 16 ? 48 : 125) + i % 4));
    }
    result.push_back(memory_of(scales));
    return result;
  }
  TypedBuffer scales(dtype, groups), biases(dtype, groups);
  fill_varied(scales, 1, false);
  fill_varied(biases, 2, false);
  result.push_back(memory_of(scales));
  result.push_back(memory_of(biases));
  return result;
}

// Numbers at aligned addresses are read eight at a time where codes fill words.
TEST_P(QuantizedKernels, quantize) {
  for (const Way& way : kWays) {
    for (Dtype dtype : {float16, bfloat16, float32}) {
      for (const int64_t offset : {0, 1}) {
        const int64_t groups = 75;
        TypedBuffer numbers(dtype, groups * way.group + offset);
        fill_varied(numbers, 5, false);
        std::vector<Memory> operands{
            memory_of(numbers), Memory(uint32, groups * way.group * way.bits / 32)};
        operands.resize(is_affine(way) ? 4 : 3, Memory(is_affine(way) ? dtype : uint8, groups));
        std::vector<int64_t> offsets(operands.size());
        offsets[0] = offset;
        // The last operand is compared.
        for (const bool of_codes : {false, true}) {
          const auto set_last = [&](auto& list) {
            std::swap(list[1], list[of_codes ? list.size() - 1 : 1]);
          };
          std::vector<Memory> ordered = operands;
          set_last(ordered);
          expect_same_on_both(
              text_of(way) + (of_codes ? " codes" : " scales") + " from " + std::to_string(offset),
              ordered,
              offsets,
              [&](Encoder& encoder, std::span<const Operand> places) {
                std::vector<Operand> of_call(places.begin(), places.end());
                set_last(of_call);
                run_call(
                    encoder,
                    kernel_of(KernelFamily::quantize, way, dtype, uint32),
                    of_call,
                    QuantizeParams{groups, way.bits, way.group, way.mode});
              },
              default_tolerance(dtype));
        }
      }
    }
  }
}

TEST_P(QuantizedKernels, dequantize) {
  for (const Way& way : kWays) {
    for (Dtype dtype : {float16, bfloat16, float32}) {
      const int64_t groups = 23;
      std::vector<Memory> operands = quantized_of(way, dtype, groups * way.group);
      operands.emplace_back(dtype, groups * way.group);
      expect_launch_same(
          kernel_of(KernelFamily::dequantize, way, dtype, dtype),
          text_of(way),
          operands,
          std::vector<int64_t>(operands.size()),
          QuantizeParams{groups, way.bits, way.group, way.mode},
          default_tolerance(dtype));
    }
  }
}

struct ProductCase {
  int64_t m, other, groups, transpose, products;
};
const ProductCase kProducts[] = {
    {1, 5, 3, 1, 0},
    {9, 66, 1, 1, 0},
    {3, 4, 2, 0, 0},
    {2, 7, 1, 1, 3},
    {65, 3, 5, 0, 2},
    {2, 19, 4, 1, 3},
    {1, 9, 72, 1, 0},  // simdgroups share the numbers of a sum
    {5, 18, 68, 1, 0}, // the same, with several rows
    {3, 2, 66, 1, 0}}; // not all lanes have numbers

TEST_P(QuantizedKernels, products) {
  for (const Way& way : kWays) {
    for (const ProductCase& product : kProducts) {
      for (Dtype dtype : {float16, bfloat16, float32}) {
        const int64_t length = product.groups * way.group;
        QuantizedMatmulParams p{};
        p.m = product.m;
        p.n = product.transpose ? product.other : length;
        p.k = product.transpose ? length : product.other;
        p.transpose = product.transpose;
        p.indexed = product.products > 0;
        p.products = std::max<int64_t>(1, product.products);
        p.lhs_count = p.rhs_count = p.indexed ? 2 : 1;
        p.bits = way.bits;
        p.group = way.group;
        p.mode = way.mode;
        TypedBuffer x(dtype, p.lhs_count * p.m * p.k);
        fill_varied(x, 3, false);
        std::vector<Memory> operands{memory_of(x)};
        for (Memory& part : quantized_of(way, dtype, p.rhs_count * p.n * p.k)) {
          operands.push_back(part);
        }
        for (int64_t i = 0; p.indexed && i < 2; ++i) {
          TypedBuffer indices(uint32, p.products);
          for (int64_t j = 0; j < p.products; ++j) {
            indices.set(j, static_cast<double>((i + j) % 3)); // one of them is out of range
          }
          operands.push_back(memory_of(indices));
        }
        operands.emplace_back(dtype, p.products * p.m * p.n);
        Tolerance tolerance = default_tolerance(dtype);
        // Numbers grow with the largest code, and may be rounded before they are multiplied.
        tolerance.absolute = 25 * tolerance.relative * std::max(16, 1 << way.bits);
        expect_launch_same(
            kernel_of(KernelFamily::quantized_matmul, way, dtype, dtype),
            concat_message(text_of(way), " of ", p.m, " x ", p.n, " x ", p.k),
            operands,
            std::vector<int64_t>(operands.size()),
            p,
            tolerance);
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(QuantizedKernels)

} // namespace
} // namespace narrows::testing
