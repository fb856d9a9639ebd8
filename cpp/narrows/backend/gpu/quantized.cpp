#include "metal_kernels/quantized.h"

#include <array>

#include "narrows/backend/gpu/dispatch.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// With more rows than this, threads share tiles of both factors.
constexpr int64_t kFewRows = 8;
constexpr int64_t kTile = 64; // of quantized_tile
constexpr uint32_t kTileThreads = 256;
constexpr uint32_t kSimdgroups = kThreads / kLanes; // of a threadgroup

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
  dispatch.threads = kThreads;
  dispatch.set_groups(divided_up(p.groups, kSimdgroups));
  dispatch.set_params(p);
}

void dispatch_dequantize(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<QuantizeParams>();
  Dispatch& dispatch = dispatches.add(base_name(call.kernel), 4);
  const uint32_t biases = is_affine(call.kernel) ? 2 : 1;
  dispatch.set_places({{0}, {1}, {biases}, {biases + 1}});
  dispatch.set_threads(p.groups * p.group / 8);
  dispatch.set_params(p);
}

void dispatch_product(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<QuantizedMatmulParams>();
  const bool rows = p.transpose != 0 && p.m <= kFewRows;
  Dispatch& dispatch = dispatches.add(
      rows ? base_name(call.kernel) : shared_name("quantized_tile", call.kernel, call.kernel.out),
      7);
  const uint32_t biases = is_affine(call.kernel) ? 3 : 2;
  // Kernels do not read indices if there are none.
  const uint32_t lhs = p.indexed != 0 ? biases + 1 : 1;
  const uint32_t rhs = p.indexed != 0 ? biases + 2 : 1;
  const uint32_t out = p.indexed != 0 ? biases + 3 : biases + 1;
  dispatch.set_places({{0}, {1}, {2}, {biases}, {lhs}, {rhs}, {out}});
  dispatch.threads = rows ? kThreads : kTileThreads;
  dispatch.set_groups(
      rows ? divided_up(p.products * p.m * p.n, kSimdgroups)
           : p.products * divided_up(p.m, kTile) * divided_up(p.n, kTile));
  dispatch.set_params(p);
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
const Row quantized_matmul_row = {rows_name, "", dispatch_product};

} // namespace narrows::gpu
