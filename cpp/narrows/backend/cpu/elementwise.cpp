// The drivers of elementwise operations, selection and casts. They choose the tile kernel.
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/tile_walk.h"

namespace narrows::cpu {
namespace {

constexpr bool is_costly(ElementwiseOp op) {
  switch (op) {
    case ElementwiseOp::arccos:
    case ElementwiseOp::arccosh:
    case ElementwiseOp::arcsin:
    case ElementwiseOp::arcsinh:
    case ElementwiseOp::arctan:
    case ElementwiseOp::arctan2:
    case ElementwiseOp::arctanh:
    case ElementwiseOp::cos:
    case ElementwiseOp::cosh:
    case ElementwiseOp::erf:
    case ElementwiseOp::erfinv:
    case ElementwiseOp::exp:
    case ElementwiseOp::expm1:
    case ElementwiseOp::floor_divide:
    case ElementwiseOp::log:
    case ElementwiseOp::log10:
    case ElementwiseOp::log1p:
    case ElementwiseOp::log2:
    case ElementwiseOp::logaddexp:
    case ElementwiseOp::power:
    case ElementwiseOp::remainder:
    case ElementwiseOp::sigmoid:
    case ElementwiseOp::sin:
    case ElementwiseOp::sinh:
    case ElementwiseOp::tan:
    case ElementwiseOp::tanh:
      return true;
    default:
      return false;
  }
}

// Elements that keep a thread busy for some ten microseconds.
int64_t grain_of(ElementwiseOp op, Dtype dtype) {
  if (!is_costly(op)) {
    return 32768;
  }
  return dtype == Dtype::float64 || dtype == Dtype::complex64 ? 2048 : 8192;
}

constexpr Dtype computed_in(Dtype dtype) {
  return is_half(dtype) ? Dtype::float32 : dtype;
}

TileKernel elementwise_kernel(const KernelId& id) {
  return tile_kernels().elementwise[id.op][static_cast<int>(computed_in(id.in))];
}

TileKernel cast_kernel(Dtype from, Dtype to) {
  return tile_kernels().cast[static_cast<int>(from)][static_cast<int>(to)];
}

void run_elementwise(const KernelId& id, void* const* operands, const void* params, void*) {
  const auto& p = *static_cast<const ElementwiseParams*>(params);
  TileOperation operation;
  operation.kernel = elementwise_kernel(id);
  operation.inputs = p.inputs;
  for (int k = 0; k < p.inputs; ++k) {
    operation.item_size[k] = size_of(id.in);
  }
  operation.item_size[p.inputs] = size_of(id.out);
  if (is_half(id.in)) {
    operation.widen = cast_kernel(id.in, Dtype::float32);
    operation.narrow = is_half(id.out) ? cast_kernel(Dtype::float32, id.out) : nullptr;
  }
  operation.grain = grain_of(static_cast<ElementwiseOp>(id.op), id.in);
  run_tiles(operation, operands, p);
}

void run_select(const KernelId& id, void* const* operands, const void* params, void*) {
  const int64_t size = size_of(id.out);
  TileOperation operation;
  operation.kernel = tile_kernels().select[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
  operation.inputs = 3;
  operation.item_size[0] = size_of(Dtype::bool_);
  operation.item_size[1] = size;
  operation.item_size[2] = size;
  operation.item_size[3] = size;
  run_tiles(operation, operands, *static_cast<const ElementwiseParams*>(params));
}

void run_cast(const KernelId& id, void* const* operands, const void* params, void*) {
  TileOperation operation;
  operation.kernel = id.in == id.out ? nullptr : cast_kernel(id.in, id.out);
  operation.inputs = 1;
  operation.item_size[0] = size_of(id.in);
  operation.item_size[1] = size_of(id.out);
  run_tiles(operation, operands, *static_cast<const ElementwiseParams*>(params));
}

} // namespace

const Row elementwise_row = {
    run_elementwise, [](const KernelId& id) {
      return id.op < kElementwiseOpCount && elementwise_kernel(id) != nullptr &&
             id.out == result_dtype(static_cast<ElementwiseOp>(id.op), id.in);
    }};
const Row select_row = {run_select, [](const KernelId& id) { return id.in == id.out; }};
const Row cast_row = {run_cast};

} // namespace narrows::cpu
