#include "narrows/backend/cpu/kernels/row_tiles.h"

#include "narrows/backend/cpu/kernels/scan_loops.h"
#include "narrows/backend/cpu/kernels/softmax_loops.h"
#include "narrows/backend/cpu/kernels/threefry_loops.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Sum and product: unsigned arithmetic wraps around for both signednesses, and 32 bits keep
// products of 16-bit integers from overflowing int.
template <template <typename> typename Op>
ScanTile arithmetic_scan(Dtype in, Dtype out) {
  switch (in) {
    case Dtype::bool_:
      return out == Dtype::bool_ ? Scan<Op<uint32_t>, uint8_t, uint8_t>::tile()
                                 : Scan<Op<uint32_t>, uint8_t, uint32_t>::tile();
    case Dtype::uint8:
    case Dtype::int8:
      return Scan<Op<uint32_t>, uint8_t, uint8_t>::tile();
    case Dtype::uint16:
    case Dtype::int16:
      return Scan<Op<uint32_t>, uint16_t, uint16_t>::tile();
    case Dtype::int32:
    case Dtype::uint32:
      return Scan<Op<uint32_t>, uint32_t, uint32_t>::tile();
    case Dtype::int64:
    case Dtype::uint64:
      return Scan<Op<uint64_t>, uint64_t, uint64_t>::tile();
    case Dtype::float16:
      return Scan<Op<float>, Half, Half>::tile();
    case Dtype::bfloat16:
      return Scan<Op<float>, Bfloat, Bfloat>::tile();
    case Dtype::float32:
      return Scan<Op<float>, float, float>::tile();
    case Dtype::float64:
      return Scan<Op<double>, double, double>::tile();
    case Dtype::complex64:
      break;
  }
  return Scan<Op<Complex>, Complex, Complex>::tile();
}

template <bool kMax>
ScanTile extreme_scan(Dtype in) {
  if (in == Dtype::bool_ && !kMax) {
    // uint8_t's identity of minimum is no bool.
    return Scan<ProductOf<uint32_t>, uint8_t, uint8_t>::tile();
  }
  return dispatch_ordered(in, []<typename T, typename Stored>() {
    return Scan<ExtremeOf<T, kMax>, Stored, Stored>::tile();
  });
}

ScanTile logaddexp_scan(Dtype in) {
  switch (in) {
    case Dtype::float16:
      return Scan<LogAddExpOf<double>, Half, Half>::tile();
    case Dtype::bfloat16:
      return Scan<LogAddExpOf<double>, Bfloat, Bfloat>::tile();
    case Dtype::float64:
      return Scan<LogAddExpOf<double>, double, double>::tile();
    case Dtype::complex64:
      return Scan<LogAddExpOf<ComplexDouble>, Complex, Complex>::tile();
    default:
      return Scan<LogAddExpOf<double>, float, float>::tile();
  }
}

} // namespace

ScanTile scan_tile(ScanOp op, Dtype in, Dtype out) {
  switch (op) {
    case ScanOp::sum:
      return arithmetic_scan<SumOf>(in, out);
    case ScanOp::prod:
      return arithmetic_scan<ProductOf>(in, out);
    case ScanOp::min:
      return extreme_scan<false>(in);
    case ScanOp::max:
      return extreme_scan<true>(in);
    case ScanOp::logaddexp:
      break;
  }
  return logaddexp_scan(in);
}

SoftmaxTile softmax_tile(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return Softmax<float, Half>::tile();
    case Dtype::bfloat16:
      return Softmax<float, Bfloat>::tile();
    case Dtype::float64:
      return Softmax<double, double>::tile();
    default:
      return Softmax<float, float>::tile();
  }
}

ThreefryWords threefry_words() {
  return threefry_blocks;
}

} // namespace narrows::cpu::NARROWS_ISA
