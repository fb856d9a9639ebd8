// Roots of unity, from which Fourier transforms make their factors.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace narrows::cpu {

// exp(-2 pi i k / n), for k from 0.
std::complex<double> root_of_unity(int64_t k, int64_t n);

// All roots of unity of an order, as products of those of small and of large exponents. So they
// take little memory, however large the order is.
class RootsOfUnity {
 public:
  RootsOfUnity() = default;
  explicit RootsOfUnity(int64_t order);

  // exp(-2 pi i k / order), for k from 0 to order - 1.
  std::complex<double> operator[](int64_t k) const {
    const std::complex<double>& low = low_[k & ((int64_t{1} << shift_) - 1)];
    const std::complex<double>& high = high_[k >> shift_];
    return {
        low.real() * high.real() - low.imag() * high.imag(),
        low.real() * high.imag() + low.imag() * high.real()};
  }
  int64_t bytes() const {
    return static_cast<int64_t>((low_.size() + high_.size()) * sizeof(std::complex<double>));
  }

 private:
  int shift_ = 0;
  std::vector<std::complex<double>> low_;
  std::vector<std::complex<double>> high_;
};

} // namespace narrows::cpu
