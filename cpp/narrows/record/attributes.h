// The parameters of an operation as data: named values. Plans print them and files keep them.
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
  bool is_printed = true; // false: needed only to compute the operation again

  Attribute(std::string name, AttributeValue value, bool is_printed = true);
};

using Attributes = std::vector<Attribute>;

// The values as bytes. They differ for different values under the same names and types.
std::string bytes_of(const Attributes& attributes);

// "axis=1, keepdims=true"
std::ostream& operator<<(std::ostream& stream, const Attributes& attributes);

} // namespace narrows
