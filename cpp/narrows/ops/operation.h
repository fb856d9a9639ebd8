// Operations by name: how a recorded operation is called again from what a file says about it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "narrows/ops/common.h"
#include "narrows/record/fields.h"

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

  // The parameter that a field was kept as.
  template <typename Owner, typename T, typename Stored>
  T read(const Field<Owner, T, Stored>& field) const {
    if constexpr (std::is_same_v<T, Stored>) {
      return get<T>(field.name);
    } else if constexpr (std::is_same_v<T, int>) {
      return small(field.name);
    } else {
      static_assert(std::is_same_v<T, Axes> && std::is_same_v<Stored, Shape>);
      return axes(field.name);
    }
  }
  template <typename Owner, typename T, typename Stored>
  std::optional<T> read(const Field<Owner, std::optional<T>, Stored>& field) const {
    return has(field.name) ? std::optional(read(Field<Owner, T, Stored>{field.name, nullptr, true}))
                           : std::nullopt;
  }

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

namespace detail {

template <typename T>
using Passed = std::conditional_t<std::is_trivially_copyable_v<T>, T, const T&>;
template <size_t>
using OneArray = const array&;

// The public function of an operation: arrays, the fields, a stream.
template <typename Indices, typename Fields>
struct PublicFunction;
template <size_t... I, typename... Fields>
struct PublicFunction<std::index_sequence<I...>, const std::tuple<Fields...>> {
  using Type = array (*)(OneArray<I>..., Passed<typename Fields::Value>..., StreamOrDevice);
};

template <typename Function, typename Fields, size_t... I>
array call_again(
    Function function, const Fields& fields, const OperationCall& call, std::index_sequence<I...>) {
  return std::apply(
      [&](const auto&... field) {
        return function(call.inputs[I]..., call.read(field)..., call.stream);
      },
      fields);
}

} // namespace detail

// The row of an operation whose primitive is a Record of these fields.
template <typename Fields, int inputs = 1>
class RecordRow : public OperationRow {
  using Indices = std::make_index_sequence<inputs == kAnyInputs ? 0 : inputs>;
  using Function = typename detail::PublicFunction<Indices, decltype(Fields::fields)>::Type;

 public:
  // The public function takes the inputs, the listed fields and the stream.
  RecordRow(const char* name, Function function)
      : OperationRow(name, inputs, [function](const OperationCall& call) {
          return detail::call_again(function, Fields::fields, call, Indices());
        }) {
  }

  // `function` takes the call and the fields, of which those that are not listed are zero.
  template <typename Custom>
  requires std::is_invocable_v<Custom, const OperationCall&, const Fields&> RecordRow(
      const char* name, Custom function)
      : OperationRow(name, inputs, [function](const OperationCall& call) {
          Fields fields{};
          std::apply(
              [&](const auto&... field) { ((fields.*field.member = call.read(field)), ...); },
              Fields::fields);
          return function(call, fields);
        }) {
  }
};

// The operation of this name, or nullptr.
const Operation* find_operation(std::string_view name);
// The names of all.
std::vector<std::string> operation_names();

} // namespace narrows
