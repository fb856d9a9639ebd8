// Operations by name: the functions that record an operation again, with inputs and parameters from
// a file.
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

// What a file says of a recorded operation, with inputs to call it with. None of it can be trusted.
struct OperationCall {
  const char* name;
  std::span<const array> inputs;
  const Attributes& attributes;
  std::span<const OutputSpec> recorded_inputs; // the recorded inputs
  std::span<const OutputSpec> outputs;         // the recorded outputs; at least one
  StreamOrDevice stream;

  // A parameter. ValueError if there is none of this name and type.
  template <typename T>
  const T& get(const char* parameter) const;
  // Whether there is a parameter of this name.
  bool has(const char* parameter) const;
  // An integer in the range of int; a list of axes.
  int small(const char* parameter) const;
  Axes axes(const char* parameter) const;

  // The value of a field.
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
  // Whether the recorded result has all dimensions of the input, as with keepdims=true.
  bool keeps_axes() const {
    return shape().ndim() == inputs[0].ndim();
  }
};

using OperationFunction = std::function<std::vector<array>(const OperationCall&)>;

inline constexpr int kAnyInputs = -1;

struct Operation {
  int inputs;             // the number, or kAnyInputs
  OperationFunction call; // checks its arguments like the public function
};

// A row of the table of operations. Every primitive that can be recorded has one, as an object in
// its file.
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

// Calls the public function of an operation with arrays, the fields and a stream.
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
  // For a public function of the inputs, the listed fields and the stream.
  RecordRow(const char* name, Function function)
      : OperationRow(name, inputs, [function](const OperationCall& call) {
          return detail::call_again(function, Fields::fields, call, Indices());
        }) {
  }

  // For a function of the call and the fields. Fields that are not listed are zero.
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

// The row with this name, or nullptr.
const Operation* find_operation(std::string_view name);
// The names of all rows.
std::vector<std::string> operation_names();

} // namespace narrows
