#include <algorithm>

#include "metal_kernels/matmul.h"
#include "narrows/backend/gpu/product.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows::gpu {
namespace {

// The threads that share a tile of a product, and the sides of the tile.
constexpr uint32_t kTileThreads = 256;
constexpr int64_t kTile = 64;

std::string matmul_name(const KernelId& kernel) {
  return concat_message(
      is_half(kernel.in) ? "matmul_simdgroup_" : "matmul_tiled_", name_of(kernel.in));
}

MatmulTileParams tile_params(const MatmulParams& p) {
  MatmulTileParams result{};
  result.m = p.m;
  result.n = p.n;
  result.k = p.k;
  result.lda = p.lda;
  result.ldb = p.ldb;
  result.ldc = p.ldc;
  result.transpose_a = p.transpose_a;
  result.transpose_b = p.transpose_b;
  result.alpha = p.alpha;
  result.beta = p.beta;
  if (p.batch_ndim > 0) {
    const int64_t last = p.batch_ndim - 1;
    result.a_stride = p.batch_strides[0][last];
    result.b_stride = p.batch_strides[1][last];
    result.c_stride = p.batch_strides[2][last];
  }
  return result;
}

// The products along the last dimension of the batch. Their matrices lie at equal distances.
void add_products(
    const Call& call,
    const MatmulTileParams& p,
    const std::array<int64_t, 3>& starts,
    int64_t count,
    Dispatches& dispatches) {
  const int64_t size = size_of(call.kernel.in);
  for (int64_t first = 0; first < count; first += kMostProducts) {
    Dispatch& dispatch =
        add_product(call.kernel.in, p, std::min(count - first, kMostProducts), dispatches);
    const std::array<int64_t, 3> strides = {p.a_stride, p.b_stride, p.c_stride};
    for (size_t i = 0; i < 3; ++i) {
      dispatch.places[i].offset = (starts[i] + first * strides[i]) * size;
    }
  }
}

void dispatch_matmul(const Call& call, Dispatches& dispatches) {
  const auto p = call.params_as<MatmulParams>();
  const MatmulTileParams tile = tile_params(p);
  const int64_t outer_ndim = std::max<int64_t>(0, p.batch_ndim - 1);
  const int64_t count = p.batch_ndim > 0 ? p.batch_shape[outer_ndim] : 1;
  int64_t outer = 1;
  for (int64_t d = 0; d < outer_ndim; ++d) {
    outer *= p.batch_shape[d];
  }
  for (int64_t i = 0; i < outer; ++i) {
    std::array<int64_t, 3> starts{};
    int64_t rest = i;
    for (int64_t d = outer_ndim; d-- > 0; rest /= p.batch_shape[d]) {
      for (size_t k = 0; k < 3; ++k) {
        starts[k] += rest % p.batch_shape[d] * p.batch_strides[k][d];
      }
    }
    add_products(call, tile, starts, count, dispatches);
  }
}

} // namespace

Dispatch& add_product(
    Dtype dtype, const MatmulTileParams& p, int64_t count, Dispatches& dispatches) {
  Dispatch& dispatch = dispatches.add(base_name({KernelFamily::matmul, 0, dtype, dtype}), 3);
  dispatch.is_product = true;
  dispatch.set_groups(divided_up(p.m, kTile) * divided_up(p.n, kTile));
  dispatch.groups[2] = static_cast<uint32_t>(count);
  dispatch.threads = is_half(dtype) ? kTileThreads / 2 : kTileThreads;
  dispatch.set_params(p);
  return dispatch;
}

const Row matmul_row = {matmul_name, "", dispatch_matmul};

} // namespace narrows::gpu
