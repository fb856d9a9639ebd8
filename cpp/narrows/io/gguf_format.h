// The numbers by which .gguf files name types.
#pragma once

#include <cstdint>
#include <string_view>

#include "narrows/core/dtype.h"

namespace narrows::gguf {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr uint32_t kDefaultAlignment = 32;

struct TypeNumber {
  uint32_t number;
  Dtype dtype;
};

// Of metadata.
inline constexpr uint32_t kString = 8;
inline constexpr uint32_t kList = 9;
inline constexpr TypeNumber kValueTypes[] = {
    {0, uint8},
    {1, int8},
    {2, uint16},
    {3, int16},
    {4, uint32},
    {5, int32},
    {6, float32},
    {7, bool_},
    {10, uint64},
    {11, int64},
    {12, float64},
};

// Of arrays.
inline constexpr TypeNumber kArrayTypes[] = {
    {0, float32},
    {1, float16},
    {24, int8},
    {25, int16},
    {26, int32},
    {27, int64},
    {28, float64},
    {30, bfloat16},
};
inline constexpr uint32_t kQ4_0 = 2;
inline constexpr uint32_t kQ4_1 = 3;
inline constexpr uint32_t kQ8_0 = 8;

// The row of a table with this dtype or number; nullptr if there is none.
template <size_t N>
const TypeNumber* find(const TypeNumber (&table)[N], Dtype dtype) {
  for (const TypeNumber& row : table) {
    if (row.dtype == dtype) {
      return &row;
    }
  }
  return nullptr;
}
template <size_t N>
const TypeNumber* find(const TypeNumber (&table)[N], uint32_t number) {
  for (const TypeNumber& row : table) {
    if (row.number == number) {
      return &row;
    }
  }
  return nullptr;
}

} // namespace narrows::gguf
