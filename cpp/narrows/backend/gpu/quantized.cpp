#include "metal_kernels/quantized.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "narrows/backend/gpu/product.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// With more rows than this, numbers are decoded once for many of them.
constexpr int64_t kFewRows = 8;
// As in quantized_rows.metal.
constexpr int64_t kChunk = 32;
constexpr int64_t kColumns = 4;
constexpr int64_t kRows = 4; // of a simdgroup, where there are several
constexpr int64_t kMostSimdgroups = 8;
// As in quantized_matrix.metal.
constexpr int64_t kMatrixColumns = 16;
constexpr int64_t kMatrixGroups = 4; // of a step
// More simdgroups only repeat what each begins with.
constexpr int64_t kEnoughMatrixSimdgroups = 3600;
// Threadgroups have fewer blocks where there would be fewer threadgroups than this.
constexpr int64_t kEnoughGroups = 256;
constexpr int64_t kTile = 64; // of quantized_tile
constexpr int64_t kPanelBytes = int64_t{16} << 20;
constexpr uint32_t kTileThreads = 256;
constexpr uint32_t kSimdgroups = kThreads / kLanes; // of a threadgroup of quantize

bool is_affine(const KernelId& kernel) {
  return kernel.mode == NARROWS_QUANTIZED_AFFINE;
}

// For kernels that take bits and mode as parameters.
std::string shared_name(const char* function, const KernelId& kernel, Dtype numbers) {
  return concat_message(function, is_affine(kernel) ? "_affine_" : "_floats_", name_of(numbers));
}

std::string rows_name(const KernelId& kernel) {
  constexpr std::array<const char*, 4> kModes = {"affine", "mxfp4", "mxfp8", "nvfp4"};
  return concat_message(
      "quantized_rows_", kModes[kernel.mode], "_", int{kernel.bits}, "_", name_of(kernel.out));
}

void dispatch_quantize(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<QuantizeParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 4);
  // Kernels take biases, and do not touch them if the mode has none.
  dispatch.set_places({{0}, {1}, {2}, {is_affine(call.kernel) ? 3u : 2u}});
  dispatch.set_params(p);
  const bool fills_words = p.bits == 4 || p.bits == 8;
  if (fills_words && is_aligned(call.addresses[0]) && is_aligned(call.addresses[1])) {
    dispatch.kernel += "_packs";
    dispatch.set_threads(p.groups * p.group / 8);
    return;
  }
  dispatch.threads = kThreads;
  dispatch.set_groups(divided_up(p.groups, kSimdgroups));
}

void dispatch_dequantize(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<QuantizeParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 4);
  const uint32_t biases = is_affine(call.kernel) ? 2 : 1;
  dispatch.set_places({{0}, {1}, {biases}, {biases + 1}});
  dispatch.set_threads(p.groups * p.group / 8);
  dispatch.set_params(p);
}

// Products of one matrix are those of a panel of it after the other, each decoded to scratch.
bool goes_in_panels(const QuantizedMatmulParams& p) {
  return p.transpose != 0 && p.indexed == 0 && p.m > kFewRows;
}
int64_t columns_of_panel(const KernelId& kernel, const QuantizedMatmulParams& p) {
  const int64_t fit = kPanelBytes / (p.k * size_of(kernel.out)) / kTile * kTile;
  return std::clamp(fit, std::min(kTile, p.n), p.n);
}

void dispatch_panels(const Call& call, const QuantizedMatmulParams& p, Dispatches& dispatches) {
  const KernelId& kernel = call.kernel;
  const std::string decode = shared_name("dequantize", kernel, kernel.out);
  const uint32_t biases = is_affine(kernel) ? 3 : 2;
  const int64_t scale_bytes = is_affine(kernel) ? size_of(kernel.out) : 1;
  const int64_t panel = columns_of_panel(kernel, p);
  for (int64_t first = 0; first < p.n; first += panel) {
    const int64_t columns = std::min(panel, p.n - first);
    const int64_t groups_before = first * p.k / p.group;
    Dispatch& codes = dispatches.add(decode, 4);
    codes.set_places(
        {{1, first * p.k * p.bits / 8},
         {2, groups_before * scale_bytes},
         {biases, groups_before * scale_bytes},
         {kScratch}});
    const QuantizeParams params{columns * p.k / p.group, p.bits, p.group, p.mode};
    codes.set_threads(columns * p.k / 8);
    codes.set_params(params);
    MatmulTileParams product{};
    product.m = p.m;
    product.n = columns;
    product.k = p.k;
    product.lda = p.k;
    product.ldb = p.k;
    product.ldc = p.n;
    product.transpose_b = 1;
    product.alpha = 1;
    add_product(kernel.out, product, 1, dispatches)
        .set_places({{0}, {kScratch}, {biases + 1, first * size_of(kernel.out)}});
  }
}

int64_t product_scratch(const KernelId& kernel, std::span<const std::byte> params) {
  const auto p = Call{kernel, {}, params}.params_as<QuantizedMatmulParams>();
  return goes_in_panels(p) ? columns_of_panel(kernel, p) * p.k * size_of(kernel.out) : 0;
}

// The kernel of a few rows reads in packs.
bool goes_in_rows(const Call& call, const QuantizedMatmulParams& p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 8;
  return p.transpose != 0 && p.m <= kFewRows && p.k % kChunk == 0 &&
         is_aligned(call.addresses[0]) && is_aligned(call.addresses[1]) && p.n < kMost &&
         p.k < kMost && p.products < kMost;
}

// Kernels of tensor cores have a fixed order of the elements in the lanes, which Apple's have not.
#if defined(__APPLE__)
constexpr bool kHasMatrices = false;
#else
constexpr bool kHasMatrices = true;
#endif

// Among those: whether tensor cores multiply codes.
bool goes_in_matrices(const Call& call, const QuantizedMatmulParams& p) {
  return kHasMatrices && is_affine(call.kernel) && p.bits == 4 && size_of(call.kernel.out) == 2 &&
         p.k % (kMatrixGroups * p.group) == 0 && is_aligned(call.addresses[2]) &&
         is_aligned(call.addresses[3]);
}

// How simdgroups share a product. `columns` and `rows` are those of a block, and `steps` are what
// simdgroups can share of its sums. There are several blocks in a threadgroup where that leaves
// enough threadgroups.
QuantizedRowsParams rows_params(
    const QuantizedMatmulParams& p, int64_t columns, int64_t rows, int64_t steps) {
  QuantizedRowsParams result{};
  result.m = static_cast<int32_t>(p.m);
  result.n = static_cast<int32_t>(p.n);
  result.k = static_cast<int32_t>(p.k);
  result.pairs = static_cast<int32_t>(p.products);
  result.lhs_count = p.indexed != 0 ? static_cast<int32_t>(p.lhs_count) : 0;
  result.rhs_count = static_cast<int32_t>(p.rhs_count);
  result.group_bits = std::countr_zero(static_cast<uint64_t>(p.group));
  result.row_blocks = static_cast<int32_t>(divided_up(p.m, rows));
  result.column_blocks = static_cast<int32_t>(divided_up(p.n, columns));
  const auto parts = static_cast<uint64_t>(std::clamp<int64_t>(steps, 1, kMostSimdgroups));
  result.part_bits = std::bit_width(parts) - 1;
  const int64_t all = p.products * result.row_blocks * result.column_blocks;
  const int64_t most = kMostSimdgroups >> result.part_bits;
  result.blocks = static_cast<int32_t>(std::clamp<int64_t>(all / kEnoughGroups, 1, most));
  return result;
}

// A part of the name, which tells the length of a group.
const char* matrix_suffix(int64_t group) {
  return group == 32 ? "_matrix_5" : group == 64 ? "_matrix_6" : "_matrix_7";
}

void dispatch_product(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<QuantizedMatmulParams>();
  if (goes_in_panels(p)) {
    dispatch_panels(call, p, dispatches);
    return;
  }
  const bool in_rows = goes_in_rows(call, p);
  Dispatch& dispatch = dispatches.add(
      in_rows ? base_name(call.kernel)
              : shared_name("quantized_tile", call.kernel, call.kernel.out),
      7);
  const uint32_t biases = is_affine(call.kernel) ? 3 : 2;
  // Kernels do not read indices if there are none.
  const uint32_t lhs = p.indexed != 0 ? biases + 1 : 1;
  const uint32_t rhs = p.indexed != 0 ? biases + 2 : 1;
  const uint32_t out = p.indexed != 0 ? biases + 3 : biases + 1;
  dispatch.set_places({{0}, {1}, {2}, {biases}, {lhs}, {rhs}, {out}});
  if (!in_rows) {
    dispatch.threads = kTileThreads;
    dispatch.set_groups(p.products * divided_up(p.m, kTile) * divided_up(p.n, kTile));
    dispatch.set_params(p);
    return;
  }
  QuantizedRowsParams rows;
  if (goes_in_matrices(call, p)) {
    dispatch.kernel += matrix_suffix(p.group);
    rows = rows_params(p, kMatrixColumns, kFewRows, p.k / (kMatrixGroups * p.group));
    const int64_t blocks = p.products * rows.column_blocks;
    while (rows.part_bits > 0 && blocks << rows.part_bits > kEnoughMatrixSimdgroups) {
      --rows.part_bits;
    }
    rows.blocks = rows.part_bits == 0 ? 2 : 1;
  } else {
    dispatch.kernel += p.m > 1 ? "_4" : "";
    rows = rows_params(p, kColumns, p.m > 1 ? kRows : 1, p.k / (kChunk * kLanes));
  }
  dispatch.threads = static_cast<uint32_t>(kLanes * rows.blocks << rows.part_bits);
  dispatch.set_groups(
      divided_up(p.products * rows.row_blocks * rows.column_blocks, int64_t{rows.blocks}));
  dispatch.set_params(rows);
}

} // namespace

const Row quantize_row = {
    [](const KernelId& kernel) { return shared_name("quantize", kernel, kernel.in); },
    "",
    dispatch_quantize};
const Row dequantize_row = {
    [](const KernelId& kernel) { return shared_name("dequantize", kernel, kernel.out); },
    "",
    dispatch_dequantize};
const Row quantized_matmul_row = {rows_name, "", dispatch_product, product_scratch};

} // namespace narrows::gpu
