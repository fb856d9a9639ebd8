#include "narrows/record/attributes.h"

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
