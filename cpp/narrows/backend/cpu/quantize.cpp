// quantize and dequantize: groups of numbers from and to codes with scales.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/quantized.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

namespace {

IntegerTiles integer_tiles(const KernelId& id, bool is_exact) {
  switch (integer_isa()) {
#if defined(__x86_64__)
    case IntegerIsa::v4_amx:
      return v4_amx::integer_tiles(id, is_exact);
    case IntegerIsa::v4_vnni:
      return v4_vnni::integer_tiles(id, is_exact);
    case IntegerIsa::v3_vnni:
      return v3_vnni::integer_tiles(id, is_exact);
#elif defined(__aarch64__)
    case IntegerIsa::i8mm:
      return i8mm::integer_tiles(id, is_exact);
    case IntegerIsa::dot:
      return dot::integer_tiles(id, is_exact);
#endif
    default:
      return NARROWS_AT_BEST_ISA(integer_tiles(id, is_exact));
  }
}

// From so many rows on panels are faster, as measured. With AVX2, making a panel of codes takes
// about as long as multiplying ten rows by it, and other products take twice as long for a row.
// Making one of floats takes as long as multiplying ten to twenty rows by it, and integers of 16
// bits are multiplied as fast as these floats. With AVX-512 the products of panels of floats take
// half the time, and others as long as before: reckoned, not measured.
int64_t least_panel_rows(const QuantizedTile& tile, bool is_exact) {
  if (tile.code_panels.multiply) {
    return integer_isa() == IntegerIsa::v4_amx ? 7 : cpu_isa_level() == 4 ? 8 : 12;
  }
  const bool is_wide = cpu_isa_level() == 4;
  if (!tile.integer.products) {
    return is_wide ? 8 : 16;
  }
  return is_exact ? (is_wide ? 12 : 28) : (is_wide ? 30 : 60);
}

} // namespace

QuantizedTile quantized_tile(const KernelId& id) {
  const bool is_exact = id.out == Dtype::float32 && keeps_float32();
  const IntegerTiles integers = integer_tiles(id, is_exact);
  QuantizedTile tile = NARROWS_AT_BEST_ISA(quantized_tile(id));
  tile.integer = integers.few_rows;
  tile.code_panels = integers.panels;
  tile.least_panel_rows = least_panel_rows(tile, is_exact);
  return tile;
}

bool keeps_float32() {
  static const bool keeps = [] {
    const char* text = std::getenv("NARROWS_EXACT");
    return text && std::string_view(text) == "1";
  }();
  return keeps;
}

namespace {

// The least number of numbers for a thread.
constexpr int64_t kThreadNumbers = 1 << 14;

int64_t grain_of(const QuantizeParams& p) {
  return std::max<int64_t>(1, kThreadNumbers / p.group);
}

void run_quantize(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const QuantizeParams*>(params);
  const QuantizedTile tile = quantized_tile(id);
  const auto* in = static_cast<const std::byte*>(operands[0]);
  auto* codes = static_cast<std::byte*>(operands[1]);
  auto* scales = static_cast<std::byte*>(operands[2]);
  auto* biases = is_affine(id) ? static_cast<std::byte*>(operands[3]) : nullptr;
  const int64_t scale_size = size_of(scale_dtype(id, id.in));
  parallel_for(p.groups, grain_of(p), [&](int64_t begin, int64_t end) {
    tile.quantize(
        in + begin * p.group * size_of(id.in),
        id.in,
        end - begin,
        p.group,
        codes + begin * p.group * p.bits / 8,
        scales + begin * scale_size,
        biases ? biases + begin * scale_size : nullptr);
  });
}

void run_dequantize(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const QuantizeParams*>(params);
  const QuantizedTile tile = quantized_tile(id);
  const QuantizedNumbers numbers = quantized_numbers(id, operands, 0, id.out);
  auto* out = static_cast<std::byte*>(operands[quantized_operands(id)]);
  parallel_for(p.groups, grain_of(p), [&](int64_t begin, int64_t end) {
    tile.dequantize(
        numbers.from(begin), end - begin, id.out, out + begin * p.group * size_of(id.out));
  });
}

bool is_stored_float(Dtype dtype) {
  return dtype == Dtype::float16 || dtype == Dtype::bfloat16 || dtype == Dtype::float32;
}

} // namespace

const Row quantize_row = {run_quantize, [](const KernelId& id) { return is_stored_float(id.in); }};
const Row dequantize_row = {
    run_dequantize, [](const KernelId& id) { return is_stored_float(id.out); }};

} // namespace narrows::cpu
