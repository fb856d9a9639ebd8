#include "narrows/backend/cpu/segmented_matmul.h"

#include <algorithm>

#include "narrows/backend/cpu/gemm_libraries.h"
#include "narrows/backend/cpu/gemm_parts.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// Products of more multiply-adds are worth all threads, one after the other.
constexpr double kLargeProduct = 256.0 * 256 * 256;

bool is_converted(const KernelId& id) {
  return size_of(id.out) == 2;
}

GemmShape shape_of(const GatherMatmulParams& p, int64_t length) {
  return {p.m, p.n, length, false, false, p.k, p.n, p.n};
}

// How long a range is becomes known when the work runs. So no library is asked that wants scratch
// by that length: OpenBLAS wants none, and what converts 16-bit numbers wants most for the longest.
class SegmentedProduct {
 public:
  SegmentedProduct(
      const KernelId& id, void* const* operands, const GatherMatmulParams& p, void* scratch)
      : id_(id), operands_(operands), p_(p), scratch_(scratch) {
  }

  void run() const {
    if (is_converted(id_) || work(shape_of(p_, p_.k)) > kLargeProduct) {
      run_range(0, p_.products, [&](auto&&... arguments) { multiply_on_all(arguments...); });
      return;
    }
    parallel_for(p_.products, grain(), [&](int64_t first, int64_t last) {
      run_range(first, last, [&](const GemmShape& s, const void* a, const void* b, void* c) {
        openblas::multiply(id_.out, s, 1, a, b, 0, c);
      });
    });
  }

 private:
  int64_t grain() const {
    const double each = std::max(1.0, work(shape_of(p_, p_.k)));
    return static_cast<int64_t>(std::max(1.0, kMatrixGrain / each));
  }

  template <typename Multiply>
  void run_range(int64_t first, int64_t last, Multiply&& multiply) const {
    const auto* begins = static_cast<const int64_t*>(operands_[2]);
    const auto* ends = static_cast<const int64_t*>(operands_[3]);
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = std::clamp<int64_t>(begins[i], 0, p_.k);
      const int64_t end = std::clamp<int64_t>(ends[i], begin, p_.k);
      void* c = at(operands_[4], id_.out, i * p_.m * p_.n);
      if (begin == end) {
        std::fill_n(static_cast<std::byte*>(c), p_.m * p_.n * size_of(id_.out), std::byte{});
        continue;
      }
      multiply(
          shape_of(p_, end - begin),
          at(static_cast<const void*>(operands_[0]), id_.out, begin),
          at(static_cast<const void*>(operands_[1]), id_.out, begin * p_.n),
          c);
    }
  }

  void multiply_on_all(const GemmShape& s, const void* a, const void* b, void* c) const {
    if (is_converted(id_)) {
      converted_gemm(id_.out, s, 1, a, b, 0, c, scratch_);
    } else {
      multiply_in_parts(id_.out, s, 1, a, b, 0, c);
    }
  }

  const KernelId& id_;
  void* const* operands_;
  const GatherMatmulParams& p_;
  void* scratch_;
};

} // namespace

int64_t segmented_matmul_scratch(const KernelId& id, const GatherMatmulParams& p) {
  return is_converted(id) ? planned_scratch(converted_gemm_workspace(shape_of(p, p.k))) : 0;
}

void run_segmented_matmul(
    const KernelId& id, void* const* operands, const GatherMatmulParams& p, void* scratch) {
  SmallScratch small;
  void* planned = segmented_matmul_scratch(id, p) > 0 ? scratch : nullptr;
  SegmentedProduct(id, operands, p, small.unless(planned)).run();
}

} // namespace narrows::cpu
