#include "narrows/record/attributes.h"

#include <type_traits>
#include <utility>

namespace narrows {
namespace {

struct Printer {
  std::ostream& stream;

  void operator()(bool value) const {
    stream << (value ? "true" : "false");
  }
  void operator()(int64_t value) const {
    stream << value;
  }
  void operator()(double value) const {
    stream << value;
  }
  void operator()(const std::string& value) const {
    stream << value;
  }
  void operator()(const Scalar& value) const {
    stream << "a " << name_of(value.dtype);
  }
  void operator()(const Axes& axes) const {
    stream << "(";
    for (size_t i = 0; i < axes.size(); ++i) {
      stream << (i ? ", " : "") << axes[i];
    }
    stream << ")";
  }
  void operator()(const Shape& shape) const {
    stream << to_string(shape);
  }
};

} // namespace

Attribute::Attribute(std::string name, AttributeValue value, bool is_printed)
    : name(std::move(name)), value(std::move(value)), is_printed(is_printed) {
}

std::string bytes_of(const Attributes& attributes) {
  std::string bytes;
  const auto add = [&](const void* data, size_t size) {
    bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes.append(static_cast<const char*>(data), size);
  };
  const auto add_value = [&](const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_arithmetic_v<T>) {
      add(&value, sizeof(T));
    } else if constexpr (std::is_same_v<T, Scalar>) {
      add(&value.dtype, sizeof(Dtype));
      add(value.bytes, sizeof(value.bytes));
    } else {
      add(value.data(), value.size() * sizeof(*value.data()));
    }
  };
  for (const Attribute& attribute : attributes) {
    std::visit(add_value, attribute.value);
  }
  return bytes;
}

std::ostream& operator<<(std::ostream& stream, const Attributes& attributes) {
  const char* separator = "";
  for (const Attribute& attribute : attributes) {
    if (attribute.is_printed) {
      stream << separator << attribute.name << "=";
      std::visit(Printer{stream}, attribute.value);
      separator = ", ";
    }
  }
  return stream;
}

} // namespace narrows
