// Operations by name: how a recorded operation is called again from what a file says about it.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "narrows/ops/common.h"
#include "narrows/record/attributes.h"

namespace narrows {

// What was recorded, and the inputs to call it with again. Nothing of it can be relied on.
struct OperationCall {
  const char* name;
  std::span<const array> inputs;
  const Attributes& attributes;
  std::span<const OutputSpec> recorded_inputs; // as the inputs were then
  std::span<const OutputSpec> outputs;         // as the outputs were then; at least one
  StreamOrDevice stream;

  // A parameter. ValueError if there is none of this name and type.
  template <typename T>
  const T& get(const char* parameter) const;
  // Whether there is a parameter of this name.
  bool has(const char* parameter) const;
  // An integer that fits, a list of axes.
  int small(const char* parameter) const;
  Axes axes(const char* parameter) const;

  const Shape& shape() const {
    return outputs[0].shape;
  }
  Dtype dtype() const {
    return outputs[0].dtype;
  }
  // Whether the result was recorded with all dimensions of its input, as with keepdims=true.
  bool keeps_axes() const {
    return shape().ndim() == inputs[0].ndim();
  }
};

using OperationFunction = std::function<std::vector<array>(const OperationCall&)>;

inline constexpr int kAnyInputs = -1;

struct Operation {
  int inputs;             // how many, or kAnyInputs
  OperationFunction call; // checks as the public function does
};

// A row of the table of operations. Every primitive that graphs are recorded of has one, as an
// object beside it.
class OperationRow {
 public:
  // `function` returns one array or several.
  template <typename Function>
  OperationRow(const char* name, int inputs, Function function) {
    if constexpr (std::is_same_v<std::invoke_result_t<Function, const OperationCall&>, array>) {
      add(name, {inputs, [function](const OperationCall& call) -> std::vector<array> {
                   return {function(call)};
                 }});
    } else {
      add(name, {inputs, function});
    }
  }

 private:
  static void add(const char* name, Operation operation);
};

// The operation of this name, or nullptr.
const Operation* find_operation(std::string_view name);

} // namespace narrows
