// How an object of another library shows its elements. Everything that it says is checked, except
// that its memory exists: that cannot be checked.
#pragma once

#include <memory>
#include <optional>

#include "bindings/convert_parts.h"

namespace narrows::python {

constexpr int kMostForeignDimensions = 64;

// How elements lie in memory.
struct ElementType {
  Dtype dtype;        // of the numbers that are read
  bool pairs = false; // two numbers make an element: complex128
  int64_t bytes() const {
    return size_of(dtype) * (pairs ? 2 : 1);
  }
};

// The format of a kind of elements: 'b' bool, 'i' and 'u' integers, 'f' and 'c' floats and complex
// numbers, 'E' bfloat16. Nothing if no dtype has such elements.
std::optional<ElementType> element_type(char kind, int64_t bytes);

// A Py_buffer that is released.
struct HeldBuffer {
  HeldBuffer() = default;
  HeldBuffer(const HeldBuffer&) = delete;
  ~HeldBuffer() {
    PyBuffer_Release(&buffer); // does nothing for an empty one
  }
  Py_buffer buffer{};
};

// The object's buffer. Raises what the object raises.
std::shared_ptr<HeldBuffer> hold_buffer(nb::handle object, int flags);

struct ForeignView {
  std::shared_ptr<void> owner; // keeps the memory
  const std::byte* data = nullptr;
  Shape shape;
  Strides strides; // bytes
  ElementType type{uint8};
};

// Sets the shape and the strides (in bytes; nullptr: row-major). ValueError or OverflowError for
// impossible sizes.
void set_layout(ForeignView& view, int64_t ndim, const int64_t* shape, const int64_t* strides);

// The bytes from the lowest element to behind the highest one, relative to `data`; (0, 0) if there
// are no elements.
std::pair<int64_t, int64_t> extent_of(const ForeignView& view);

// The attribute, or nothing if there is none. Classes have none of the protocols of their
// instances. Raises what the attribute raises.
nb::object optional_attribute(nb::handle object, const char* name);

// A Python integer. TypeError for other objects, OverflowError if int64 cannot hold it.
int64_t read_size(nb::handle object, const char* what);

// The object's elements by one protocol; nothing if it does not support the protocol. Raises what
// the object raises, NoDtypeError for elements without a dtype, and ValueError for inconsistent
// data.
std::optional<ForeignView> view_by_buffer(nb::handle object);
std::optional<ForeignView> view_by_dlpack(nb::handle object);
std::optional<ForeignView> view_by_interface(nb::handle object);

} // namespace narrows::python
