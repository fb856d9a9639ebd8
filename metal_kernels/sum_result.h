// The types of sums and products. Included after common.h.
#pragma once

// Sums and products of small integers are 32 bits wide.
template <typename T>
struct SumResultOf {
  using type = T;
};
#define NARROWS_SUM_RESULT(T, R) \
  template <>                    \
  struct SumResultOf<T> {        \
    using type = R;              \
  };
NARROWS_SUM_RESULT(bool, int32_t)
NARROWS_SUM_RESULT(uint8_t, uint32_t)
NARROWS_SUM_RESULT(uint16_t, uint32_t)
NARROWS_SUM_RESULT(int8_t, int32_t)
NARROWS_SUM_RESULT(int16_t, int32_t)
#undef NARROWS_SUM_RESULT
template <typename T>
using SumResult = typename SumResultOf<T>::type;
