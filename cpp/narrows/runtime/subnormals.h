// Subnormal numbers: those next to zero, which have fewer digits than others. Intel's processors
// take many times as long for an operation that meets one.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "narrows/core/dtype.h"

namespace narrows {

// How the calling thread rounds, and what it does with subnormal numbers.
using FloatMode = unsigned;

#if defined(__x86_64__)
inline constexpr FloatMode kFloatFlags = 0x3f;        // what has happened: no part of the mode
inline constexpr FloatMode kFlushSubnormals = 0x8040; // results to zero, and operands, too

inline FloatMode float_mode() {
  return _mm_getcsr() & ~kFloatFlags;
}
inline void set_float_mode(FloatMode mode) {
  _mm_setcsr((_mm_getcsr() & kFloatFlags) | mode);
}
#else
// Other processors lose little: nothing is set.
inline constexpr FloatMode kFlushSubnormals = 0;

inline FloatMode float_mode() {
  return 0;
}
inline void set_float_mode(FloatMode) {
}
#endif

// While one lives, the calling thread computes in this mode.
class FloatModeScope {
 public:
  explicit FloatModeScope(FloatMode mode) : before_(float_mode()), changes_(mode != before_) {
    if (changes_) {
      set_float_mode(mode);
    }
  }
  ~FloatModeScope() {
    if (changes_) {
      set_float_mode(before_);
    }
  }
  FloatModeScope(const FloatModeScope&) = delete;
  FloatModeScope& operator=(const FloatModeScope&) = delete;

 private:
  FloatMode before_;
  bool changes_;
};

// While one lives, subnormal numbers are zero to the calling thread, and to those that run its
// calls of parallel_for(). For kernels whose results are sums: what is lost is far below the
// rounding of any other term. Nothing happens where they are computed in float64, or with float16:
// its conversion to float32 goes through subnormal numbers.
class SubnormalsFlushed : public FloatModeScope {
 public:
  explicit SubnormalsFlushed(Dtype dtype)
      : FloatModeScope(
            dtype == Dtype::float64 || dtype == Dtype::float16 ? float_mode()
                                                               : float_mode() | kFlushSubnormals) {
  }
};

} // namespace narrows
