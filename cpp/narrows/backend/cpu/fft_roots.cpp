#include "narrows/backend/cpu/fft_roots.h"

#include <bit>
#include <cmath>
#include <numbers>

namespace narrows::cpu {

// The angle is computed from the nearest eighth of a turn, which is exact.
std::complex<double> root_of_unity(int64_t k, int64_t n) {
  k %= n;
  const __int128 eighths = __int128{8} * k;
  const auto octant = static_cast<int>(eighths / n);
  const bool odd = octant % 2 != 0;
  // 8 k / n = octant + rest; of odd octants the distance to the next one counts.
  const __int128 rest = eighths - __int128{octant} * n;
  const double angle =
      static_cast<double>(odd ? n - rest : rest) / static_cast<double>(n) * (std::numbers::pi / 4);
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  switch (octant) {
    case 0:
      return {cosine, -sine};
    case 1:
      return {sine, -cosine};
    case 2:
      return {-sine, -cosine};
    case 3:
      return {-cosine, -sine};
    case 4:
      return {-cosine, sine};
    case 5:
      return {-sine, cosine};
    case 6:
      return {sine, cosine};
    default:
      return {cosine, sine};
  }
}

RootsOfUnity::RootsOfUnity(int64_t order)
    : shift_(std::bit_width(static_cast<uint64_t>(order)) / 2) {
  const int64_t kept = int64_t{1} << shift_;
  for (int64_t k = 0; k < kept; ++k) {
    low_.push_back(root_of_unity(k, order));
  }
  for (int64_t k = 0; k < order; k += kept) {
    high_.push_back(root_of_unity(k, order));
  }
}

} // namespace narrows::cpu
