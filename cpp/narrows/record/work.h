// TellsFlops: what a primitive derives from whose steps compute more than they read and write.
#pragma once

#include <span>

#include "narrows/core/shape.h"

namespace narrows {

// The time of a step is estimated by the bytes that it reads and writes, and, where its primitive
// tells them, by its floating point operations.
class TellsFlops {
 public:
  virtual double flops(std::span<const Shape* const> inputs, const Shape& output) const = 0;

 protected:
  ~TellsFlops() = default;
};

// Of products of matrices (..., m, k) and (..., k, n), or of vectors (k,).
inline double product_flops(const Shape& a, const Shape& output) {
  const int64_t k = a.ndim() > 0 ? a[a.ndim() - 1] : 1;
  return 2.0 * static_cast<double>(element_count(output)) * static_cast<double>(k);
}

} // namespace narrows
