// The element types of arrays: their sizes, names, categories and promotion.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace narrows {

// Declared in order of promotion within each category; kDtypes in dtype.cpp follows this order.
enum class Dtype : uint8_t {
  bool_,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  float16,
  bfloat16,
  float32,
  float64,
  complex64,
};

inline constexpr int kDtypeCount = 14;

inline constexpr Dtype bool_ = Dtype::bool_;
inline constexpr Dtype uint8 = Dtype::uint8;
inline constexpr Dtype uint16 = Dtype::uint16;
inline constexpr Dtype uint32 = Dtype::uint32;
inline constexpr Dtype uint64 = Dtype::uint64;
inline constexpr Dtype int8 = Dtype::int8;
inline constexpr Dtype int16 = Dtype::int16;
inline constexpr Dtype int32 = Dtype::int32;
inline constexpr Dtype int64 = Dtype::int64;
inline constexpr Dtype float16 = Dtype::float16;
inline constexpr Dtype bfloat16 = Dtype::bfloat16;
inline constexpr Dtype float32 = Dtype::float32;
inline constexpr Dtype float64 = Dtype::float64;
inline constexpr Dtype complex64 = Dtype::complex64;

// The tree of categories: generic > number > {integer > {signed, unsigned},
// inexact > {floating, complex}}. bool_ belongs to generic only.
enum class Category : uint8_t {
  complexfloating,
  floating,
  inexact,
  signedinteger,
  unsignedinteger,
  integer,
  number,
  generic,
};

namespace detail {
inline constexpr uint8_t kItemSize[kDtypeCount] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 8};
}

// Bytes of one element.
constexpr int64_t size_of(Dtype dtype) {
  return detail::kItemSize[static_cast<int>(dtype)];
}

constexpr bool is_unsigned(Dtype d) {
  return d >= Dtype::uint8 && d <= Dtype::uint64;
}
constexpr bool is_signed_integer(Dtype d) {
  return d >= Dtype::int8 && d <= Dtype::int64;
}
constexpr bool is_integer(Dtype d) {
  return d >= Dtype::uint8 && d <= Dtype::int64;
}
constexpr bool is_floating(Dtype d) {
  return d >= Dtype::float16 && d <= Dtype::float64;
}
constexpr bool is_complex(Dtype d) {
  return d == Dtype::complex64;
}
constexpr bool is_inexact(Dtype d) {
  return d >= Dtype::float16;
}
// float16 or bfloat16: stored in 16 bits, computed in float32.
constexpr bool is_half(Dtype d) {
  return d == Dtype::float16 || d == Dtype::bfloat16;
}

// "float32", "bool", ...
std::string_view name_of(Dtype dtype);
std::string_view name_of(Category category);

// The dtype with this name, if there is one.
std::optional<Dtype> dtype_named(std::string_view name);

Category category_of(Dtype dtype);
bool is_subcategory(Category child, Category parent);

// The dtype that holds the result of an operation on both.
Dtype promote(Dtype a, Dtype b);

// Floating and complex types stay; all others become float32.
constexpr Dtype at_least_float(Dtype d) {
  return is_inexact(d) ? d : Dtype::float32;
}

// Whether `from` may be converted to `to` without leaving its category upwards.
bool can_cast(Dtype from, Dtype to);

} // namespace narrows
