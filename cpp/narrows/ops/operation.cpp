#include "narrows/ops/operation.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>

namespace narrows {
namespace {

// The rows add themselves before main(), in any order.
std::map<std::string, Operation, std::less<>>& table() {
  static std::map<std::string, Operation, std::less<>> operations;
  return operations;
}

const Attribute* find(const Attributes& attributes, const char* name) {
  const auto at = std::find_if(
      attributes.begin(), attributes.end(), [&](const Attribute& a) { return a.name == name; });
  return at == attributes.end() ? nullptr : &*at;
}

} // namespace

template <typename T>
const T& OperationCall::get(const char* parameter) const {
  const Attribute* found = find(attributes, parameter);
  const T* value = found ? std::get_if<T>(&found->value) : nullptr;
  if (!value) {
    fail<ValueError>(
        "[", name, "] ", found ? "another type of" : "no", " parameter \"", parameter, "\".");
  }
  return *value;
}
template const bool& OperationCall::get(const char*) const;
template const int64_t& OperationCall::get(const char*) const;
template const double& OperationCall::get(const char*) const;
template const std::string& OperationCall::get(const char*) const;
template const Scalar& OperationCall::get(const char*) const;
template const Axes& OperationCall::get(const char*) const;
template const Shape& OperationCall::get(const char*) const;

bool OperationCall::has(const char* parameter) const {
  return find(attributes, parameter) != nullptr;
}

int OperationCall::small(const char* parameter) const {
  const int64_t value = get<int64_t>(parameter);
  // leaves room for moving an axis behind a batch
  constexpr int64_t kMost = std::numeric_limits<int>::max() / 2;
  if (value < -kMost || value > kMost) {
    fail<ValueError>("[", name, "] ", parameter, " is ", value, ", expected a smaller number.");
  }
  return static_cast<int>(value);
}

Axes OperationCall::axes(const char* parameter) const {
  Axes result;
  for (int64_t axis : get<Shape>(parameter)) {
    if (axis < std::numeric_limits<int>::min() || axis > std::numeric_limits<int>::max()) {
      fail<ValueError>("[", name, "] axis ", axis, " is out of range.");
    }
    result.push_back(static_cast<int>(axis));
  }
  return result;
}

void OperationRow::add(const char* name, Operation operation) {
  table().emplace(name, std::move(operation));
}

const Operation* find_operation(std::string_view name) {
  const auto at = table().find(name);
  return at == table().end() ? nullptr : &at->second;
}

std::vector<std::string> operation_names() {
  std::vector<std::string> names;
  for (const auto& [name, operation] : table()) {
    names.push_back(name);
  }
  return names;
}

} // namespace narrows
