// The parameters of an operation as data: named values, for plans to print and files to keep.
#pragma once

#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "narrows/core/scalar.h"
#include "narrows/core/shape.h"

namespace narrows {

// The order is that of the tags in files of exported functions.
using AttributeValue = std::variant<bool, int64_t, double, std::string, Scalar, Axes, Shape>;

struct Attribute {
  std::string name;
  AttributeValue value;
  bool is_printed = true; // false: of interest only to who computes the operation again

  Attribute(std::string name, AttributeValue value, bool is_printed = true);
};

using Attributes = std::vector<Attribute>;

// The values as bytes: different for different ones of the same names and types.
std::string bytes_of(const Attributes& attributes);

// "axis=1, keepdims=true"
std::ostream& operator<<(std::ostream& stream, const Attributes& attributes);

} // namespace narrows
