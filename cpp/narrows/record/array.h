// array: a shared handle on one output of a node. It is cheap to copy. Its value is computed by an
// evaluation.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "narrows/core/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/layout.h"
#include "narrows/core/scalar.h"
#include "narrows/record/node.h"

namespace narrows {

class array {
 public:
  // No array. Only good for assignment.
  array() = default;

  // A number, as a literal: it has its value at once and takes no counted memory.
  explicit array(const Scalar& value);
  // Of dtype bool_, int32, int64, float32, float64 or complex64.
  explicit array(bool value);
  explicit array(int value);
  explicit array(int64_t value);
  explicit array(float value);
  explicit array(double value, Dtype dtype = float32);
  explicit array(complex64_t value);

  // An evaluated array over a buffer.
  array(Shape shape, Dtype dtype, BufferRef buffer, Layout layout, Stream stream);

  // Output `index` of a node.
  array(Node* node, uint32_t index) : output_(&node->output(index)) {
    output_->retain();
  }
  explicit array(Output* output) : output_(output) {
    output_->retain();
  }

  array(const array& other) : output_(other.output_) {
    if (output_) {
      output_->retain();
    }
  }
  array(array&& other) noexcept : output_(std::exchange(other.output_, nullptr)) {
  }
  array& operator=(array other) noexcept {
    std::swap(output_, other.output_);
    return *this;
  }
  ~array() {
    if (output_) {
      output_->release();
    }
  }

  const Shape& shape() const {
    return output_->shape;
  }
  int64_t shape(int axis) const {
    return output_->shape[normalize_axis("shape", axis, output_->shape)];
  }
  int ndim() const {
    return output_->shape.ndim();
  }
  Dtype dtype() const {
    return output_->dtype;
  }
  int64_t size() const {
    return element_count(output_->shape);
  }
  int64_t itemsize() const {
    return size_of(output_->dtype);
  }
  int64_t nbytes() const {
    return size() * itemsize();
  }

  // Computes the value (see evaluate.h); raises whatever the computation raises.
  const array& eval() const;
  // Whether it has its value.
  bool is_ready() const {
    return output_->node->status() == Status::ready;
  }

  // Where the value lies. Only after eval().
  const Layout& layout() const {
    return output_->layout;
  }
  const BufferRef& buffer() const {
    return output_->buffer;
  }
  // The address of the first element. Only after eval(), and on devices whose memory the host can
  // address.
  void* data() const {
    return static_cast<std::byte*>(output_->buffer->memory) + layout().offset * itemsize();
  }
  template <typename T>
  T* data() const {
    return static_cast<T*>(data());
  }

  // Evaluates, and returns the array itself or, where the host cannot address its memory, a copy.
  array on_host() const;

  // Evaluates and returns the only element. ValueError if there is not exactly one.
  template <typename T>
  T item() const {
    if (size() != 1) {
      fail<ValueError>(
          "[item] array of shape ", to_string(shape()), " has ", size(), " elements, expected 1.");
    }
    const array held = on_host();
    return dispatch(
        dtype(), [&](auto tag) { return held.read<T, typename decltype(tag)::type>(); });
  }

  Output* output() const {
    return output_;
  }
  Node* node() const {
    return output_->node;
  }
  // The stream that the array was recorded for.
  Stream stream() const {
    return output_->node->asked_stream();
  }
  // Identifies the array; handles on the same output compare equal.
  bool same_as(const array& other) const {
    return output_ == other.output_;
  }
  explicit operator bool() const {
    return output_ != nullptr;
  }

 private:
  template <typename T, typename Stored>
  T read() const {
    const Stored value = *data<Stored>();
    if constexpr (std::is_same_v<Stored, float16_t> || std::is_same_v<Stored, bfloat16_t>) {
      return static_cast<T>(static_cast<float>(value));
    } else if constexpr (std::is_same_v<Stored, complex64_t> && !std::is_same_v<T, complex64_t>) {
      return static_cast<T>(value.real());
    } else {
      return static_cast<T>(value);
    }
  }

  Output* output_ = nullptr;
};

struct OutputSpec {
  Shape shape;
  Dtype dtype;
};
OutputSpec spec_of(const array& a);
std::vector<OutputSpec> specs_of(std::span<const array> arrays);

// Records one operation: a node with the given inputs and outputs. O(1). Where the stream's device
// lacks its kernel, records the operations that it is made of instead, or else a node that runs on
// the CPU.
array record(
    std::shared_ptr<const Primitive> primitive,
    Stream stream,
    Shape shape,
    Dtype dtype,
    std::span<const array> inputs);
std::vector<array> record(
    std::shared_ptr<const Primitive> primitive,
    Stream stream,
    std::vector<OutputSpec> outputs,
    std::span<const array> inputs);

} // namespace narrows
