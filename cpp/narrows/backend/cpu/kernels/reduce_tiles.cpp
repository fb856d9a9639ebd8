#include "narrows/backend/cpu/kernels/reduce_tiles.h"

#include "narrows/backend/cpu/kernels/arg_reduce_loops.h"
#include "narrows/backend/cpu/kernels/reduce_loops.h"
#include "narrows/core/kernel_families.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Whether an element is not zero, as 0 or 1, combined by maximum (any) or minimum (all).
template <typename In, bool kAny>
struct Truth {
  static void begin(void* accumulators, int64_t n) {
    std::memset(accumulators, kAny ? 0 : 1, static_cast<size_t>(n));
  }

  static NARROWS_INLINE uint8_t is_true(In x) {
    if constexpr (std::is_same_v<In, Complex>) {
      return x.re != 0 || x.im != 0;
    } else if constexpr (kIs16Bit<In>) {
      return (x.bits & 0x7fffu) != 0;
    } else {
      return x != 0;
    }
  }

  static NARROWS_INLINE uint8_t combine(uint8_t a, uint8_t b) {
    return kAny ? a | b : a & b;
  }

  static void add(
      const void* from,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      void* to) {
    const auto* in = static_cast<const In*>(from);
    auto* accumulators = static_cast<uint8_t*>(to);
    if (kept_stride == 1 && reduced_stride != 1) {
      for (int64_t r = 0; r < reduced; ++r) {
        const In* row = in + r * reduced_stride;
        for (int64_t k = 0; k < kept; ++k) {
          accumulators[k] = combine(accumulators[k], is_true(row[k]));
        }
      }
      return;
    }
    for (int64_t k = 0; k < kept; ++k) {
      const In* run = in + k * kept_stride;
      accumulators[k] = reduced_stride == 1
                            ? add_run(run, reduced, accumulators[k])
                            : add_strided(run, reduced, reduced_stride, accumulators[k]);
    }
  }

  static uint8_t add_run(const In* run, int64_t n, uint8_t result) {
    // Looks only now and then whether the answer is known, so that the loop between is simple.
    constexpr int64_t kBlock = 1024;
    for (int64_t r = 0; r < n && (result != 0) != kAny; r += kBlock) {
      const int64_t end = r + kBlock < n ? r + kBlock : n;
      for (int64_t i = r; i < end; ++i) {
        result = combine(result, is_true(run[i]));
      }
    }
    return result;
  }

  static uint8_t add_strided(const In* run, int64_t n, int64_t stride, uint8_t result) {
    for (int64_t r = 0; r < n && (result != 0) != kAny; ++r) {
      result = combine(result, is_true(run[r * stride]));
    }
    return result;
  }

  static void merge(const void* from, int64_t n, void* to) {
    const auto* in = static_cast<const uint8_t*>(from);
    auto* accumulators = static_cast<uint8_t*>(to);
    for (int64_t i = 0; i < n; ++i) {
      accumulators[i] = combine(accumulators[i], in[i]);
    }
  }

  static void finish(const void* from, int64_t n, void* to, int64_t out_stride) {
    const auto* accumulators = static_cast<const uint8_t*>(from);
    auto* out = static_cast<uint8_t*>(to);
    for (int64_t i = 0; i < n; ++i) {
      out[i * out_stride] = accumulators[i];
    }
  }

  static constexpr ReduceTile tile() {
    return {1, begin, add, merge, finish};
  }
};

// Sum and product: small integers widen to 32 bits; unsigned arithmetic wraps around for both
// signednesses. 16-bit floats compute in float.
template <template <typename> typename Op>
ReduceTile arithmetic_tile(Dtype in) {
  switch (in) {
    case Dtype::bool_:
    case Dtype::uint8:
      return Reduce<Op<uint32_t>, uint8_t, uint32_t>::tile();
    case Dtype::uint16:
      return Reduce<Op<uint32_t>, uint16_t, uint32_t>::tile();
    case Dtype::int8:
      return Reduce<Op<uint32_t>, int8_t, uint32_t>::tile();
    case Dtype::int16:
      return Reduce<Op<uint32_t>, int16_t, uint32_t>::tile();
    case Dtype::int32:
    case Dtype::uint32:
      return Reduce<Op<uint32_t>, uint32_t, uint32_t>::tile();
    case Dtype::int64:
    case Dtype::uint64:
      return Reduce<Op<uint64_t>, uint64_t, uint64_t>::tile();
    case Dtype::float16:
      return Reduce<Op<float>, Half, Half>::tile();
    case Dtype::bfloat16:
      return Reduce<Op<float>, Bfloat, Bfloat>::tile();
    case Dtype::float32:
      return Reduce<Op<float>, float, float>::tile();
    case Dtype::float64:
      return Reduce<Op<double>, double, double>::tile();
    case Dtype::complex64:
      break;
  }
  return Reduce<Op<Complex>, Complex, Complex>::tile();
}

template <bool kMax>
ReduceTile extreme_tile(Dtype in) {
  return dispatch_ordered(in, []<typename T, typename Stored>() {
    return Reduce<ExtremeOf<T, kMax>, Stored, Stored>::tile();
  });
}

template <bool kAny>
ReduceTile truth_tile(Dtype in) {
  return dispatch_ordered(
      in, []<typename T, typename Stored>() { return Truth<Stored, kAny>::tile(); });
}

template <bool kMax>
ArgReduceTile arg_tile(Dtype in) {
  return dispatch_ordered(in, []<typename T, typename Stored>() {
    return ArgReduce<ExtremeOf<T, kMax>, Stored>::tile();
  });
}

} // namespace

ReduceTile reduce_tile(ReduceOp op, Dtype in) {
  switch (op) {
    case ReduceOp::sum:
      return arithmetic_tile<SumOf>(in);
    case ReduceOp::prod:
      return arithmetic_tile<ProductOf>(in);
    case ReduceOp::min:
      return extreme_tile<false>(in);
    case ReduceOp::max:
      return extreme_tile<true>(in);
    case ReduceOp::all:
      return truth_tile<false>(in);
    case ReduceOp::any:
      break;
  }
  return truth_tile<true>(in);
}

ArgReduceTile arg_reduce_tile(ArgReduceOp op, Dtype in) {
  return op == ArgReduceOp::argmax ? arg_tile<true>(in) : arg_tile<false>(in);
}

} // namespace narrows::cpu::NARROWS_ISA
