#include "narrows/record/array.h"

#include <algorithm>

#include "narrows/record/pending.h"
#include "narrows/record/primitive.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/literal.h"

namespace narrows {
namespace {

// A node whose value is there from the start.
array ready_array(Shape shape, Dtype dtype, BufferRef buffer, Layout layout, Stream stream) {
  Node* node = Node::create(nullptr, stream, 0, 1);
  Output& output = node->output(0);
  output.shape = std::move(shape);
  output.dtype = dtype;
  output.buffer = std::move(buffer);
  output.layout = std::move(layout);
  node->set_status(Status::ready);
  return array(&output);
}

bool has_kernels(
    const Primitive& primitive, Device device, std::span<const array> inputs, Dtype output) {
  const Backend& backend = backend_for(device);
  if (inputs.empty()) {
    return backend.supports(primitive.kernel(output, output));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Dtype dtype = inputs[i].dtype();
    const bool is_known = i > 0 && dtype == inputs[i - 1].dtype();
    if (!is_known && !backend.supports(primitive.kernel(dtype, output))) {
      return false;
    }
  }
  return true;
}

// Whether the device has the kernels of the operation. The CPU has all.
inline bool can_run(
    const Primitive& primitive, Device device, std::span<const array> inputs, Dtype output) {
  return device.type == Device::Type::cpu || has_kernels(primitive, device, inputs, output);
}

// The operation on a device that lacks its kernel: the operations that it is made of, or else its
// node on the CPU.
std::vector<array> record_elsewhere(
    std::shared_ptr<const Primitive> primitive,
    Stream stream,
    std::vector<OutputSpec> outputs,
    std::span<const array> inputs) {
  std::vector<array> results = primitive->decompose(inputs, stream);
  if (results.empty()) {
    const Stream on_cpu = default_stream({Device::Type::cpu, 0});
    results = record(std::move(primitive), on_cpu, std::move(outputs), inputs);
    results[0].node()->set_asked_stream(stream);
  }
  return results;
}

} // namespace

array::array(const Scalar& value)
    : array(
          {},
          value.dtype,
          make_literal(value),
          Layout::row_major({}),
          default_stream({Device::Type::cpu, 0})) {
}
array::array(bool value) : array(Scalar::of(value, bool_)) {
}
array::array(int value) : array(Scalar::of(static_cast<int32_t>(value), int32)) {
}
array::array(int64_t value) : array(Scalar::of(value, int64)) {
}
array::array(float value) : array(Scalar::of(value, float32)) {
}
array::array(double value, Dtype dtype)
    : array(dispatch(dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
          return Scalar::of(T(static_cast<float>(value)), dtype);
        } else {
          return Scalar::of(static_cast<T>(value), dtype);
        }
      })) {
}
array::array(complex64_t value) : array(Scalar::of(value, complex64)) {
}

array::array(Shape shape, Dtype dtype, BufferRef buffer, Layout layout, Stream stream)
    : array(ready_array(std::move(shape), dtype, std::move(buffer), std::move(layout), stream)) {
}

const array& array::eval() const {
  if (!is_ready()) {
    narrows::eval(*this);
  }
  return *this;
}

std::vector<array> record(
    std::shared_ptr<const Primitive> primitive,
    Stream stream,
    std::vector<OutputSpec> outputs,
    std::span<const array> inputs) {
  if (!can_run(*primitive, stream.device, inputs, outputs[0].dtype)) {
    return record_elsewhere(std::move(primitive), stream, std::move(outputs), inputs);
  }
  for (const OutputSpec& output : outputs) {
    checked_size(primitive->name(), output.shape);
  }
  Node* node = Node::create(
      std::move(primitive),
      stream,
      static_cast<uint32_t>(inputs.size()),
      static_cast<uint32_t>(outputs.size()));
  std::copy(inputs.begin(), inputs.end(), node->inputs());
  std::vector<array> results;
  results.reserve(outputs.size());
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    node->output(i).shape = std::move(outputs[i].shape);
    node->output(i).dtype = outputs[i].dtype;
    results.emplace_back(node, i);
  }
  note_recorded(*node);
  return results;
}

OutputSpec spec_of(const array& a) {
  return {a.shape(), a.dtype()};
}

std::vector<OutputSpec> specs_of(std::span<const array> arrays) {
  std::vector<OutputSpec> specs(arrays.size());
  std::transform(arrays.begin(), arrays.end(), specs.begin(), spec_of);
  return specs;
}

array record(
    std::shared_ptr<const Primitive> primitive,
    Stream stream,
    Shape shape,
    Dtype dtype,
    std::span<const array> inputs) {
  if (!can_run(*primitive, stream.device, inputs, dtype)) {
    return record_elsewhere(std::move(primitive), stream, {{std::move(shape), dtype}}, inputs)[0];
  }
  // An empty input may have any other dimensions, and a result without the empty one none that fit.
  checked_size(primitive->name(), shape);
  Node* node = Node::create(std::move(primitive), stream, static_cast<uint32_t>(inputs.size()), 1);
  std::copy(inputs.begin(), inputs.end(), node->inputs());
  node->output(0).shape = std::move(shape);
  node->output(0).dtype = dtype;
  array result(node, 0);
  note_recorded(*node);
  return result;
}

} // namespace narrows
