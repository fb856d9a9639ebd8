// Tile kernels with one argument of floating or complex types.
#include "narrows/backend/cpu/kernels/tile_loops.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Limited is a functor for angles below the limit; Unlimited takes the few others. Testing a block
// at a time leaves the fast loop without branches.
template <float (*kLimited)(float), float (*kUnlimited)(float)>
void angle_loop(const void* const* in, void* out, int64_t n) {
  constexpr int64_t kBlock = 128;
  const auto* a = static_cast<const float*>(in[0]);
  auto* o = static_cast<float*>(out);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    uint32_t largest = 0;
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t magnitude = metal::detail::bits(a[i]) & 0x7fffffffu;
      largest = magnitude > largest ? magnitude : largest;
    }
    if (largest < metal::detail::bits(metal::detail::kTrigonometricLimit)) {
      NARROWS_INDEPENDENT
      for (int64_t i = begin; i < end; ++i) {
        o[i] = kLimited(a[i]);
      }
    } else {
      for (int64_t i = begin; i < end; ++i) {
        o[i] = kUnlimited(a[i]);
      }
    }
  }
}

void set_angle_kernel(TileKernels& table, ElementwiseOp op, TileKernel kernel) {
  table.elementwise[static_cast<int>(op)][static_cast<int>(Dtype::float32)] = kernel;
}

} // namespace

void add_unary_float_kernels(TileKernels& table) {
  fill_rows<1, float, double, complex64_t>(table);
  using metal::detail::cos_limited;
  using metal::detail::sin_limited;
  using metal::detail::tan_limited;
  set_angle_kernel(table, ElementwiseOp::sin, angle_loop<sin_limited, metal::sin>);
  set_angle_kernel(table, ElementwiseOp::cos, angle_loop<cos_limited, metal::cos>);
  set_angle_kernel(table, ElementwiseOp::tan, angle_loop<tan_limited, metal::tan>);
}

} // namespace narrows::cpu::NARROWS_ISA
