#include "narrows/core/dtype.h"

#include <array>

namespace narrows {
namespace {

struct DtypeRow {
  std::string_view name;
  Category category;
};

constexpr std::array<DtypeRow, kDtypeCount> kDtypes = {{
    {"bool", Category::generic},
    {"uint8", Category::unsignedinteger},
    {"uint16", Category::unsignedinteger},
    {"uint32", Category::unsignedinteger},
    {"uint64", Category::unsignedinteger},
    {"int8", Category::signedinteger},
    {"int16", Category::signedinteger},
    {"int32", Category::signedinteger},
    {"int64", Category::signedinteger},
    {"float16", Category::floating},
    {"bfloat16", Category::floating},
    {"float32", Category::floating},
    {"float64", Category::floating},
    {"complex64", Category::complexfloating},
}};

constexpr std::array<std::string_view, 8> kCategoryNames = {
    "complexfloating",
    "floating",
    "inexact",
    "signedinteger",
    "unsignedinteger",
    "integer",
    "number",
    "generic"};

// The smallest signed type that holds both, or float32 where none does.
Dtype promote_mixed_sign(Dtype unsigned_type, Dtype signed_type) {
  const int64_t unsigned_size = size_of(unsigned_type);
  if (unsigned_size == 8) {
    return Dtype::float32;
  }
  if (size_of(signed_type) > unsigned_size) {
    return signed_type;
  }
  return unsigned_size == 1 ? Dtype::int16 : unsigned_size == 2 ? Dtype::int32 : Dtype::int64;
}

} // namespace

std::string_view name_of(Dtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)].name;
}

std::string_view name_of(Category category) {
  return kCategoryNames[static_cast<size_t>(category)];
}

std::optional<Dtype> dtype_named(std::string_view name) {
  for (size_t i = 0; i < kDtypes.size(); ++i) {
    if (kDtypes[i].name == name) {
      return static_cast<Dtype>(i);
    }
  }
  return std::nullopt;
}

Category category_of(Dtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)].category;
}

bool is_subcategory(Category child, Category parent) {
  if (child == parent || parent == Category::generic) {
    return true;
  }
  switch (child) {
    case Category::complexfloating:
    case Category::floating:
      return parent == Category::inexact || parent == Category::number;
    case Category::signedinteger:
    case Category::unsignedinteger:
      return parent == Category::integer || parent == Category::number;
    case Category::inexact:
    case Category::integer:
      return parent == Category::number;
    default:
      return false;
  }
}

Dtype promote(Dtype a, Dtype b) {
  if (a == b) {
    return a;
  }
  if (a > b) {
    std::swap(a, b);
  }
  if (a == Dtype::float16 && b == Dtype::bfloat16) {
    return Dtype::float32;
  }
  if (is_unsigned(a) && is_signed_integer(b)) {
    return promote_mixed_sign(a, b);
  }
  return b;
}

bool can_cast(Dtype from, Dtype to) {
  return promote(from, to) == to;
}

} // namespace narrows
