// What an object of another library shows of its elements. Everything that it says is checked,
// except that its memory is there: nobody can check that.
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

// Elements of a kind: 'b' bool, 'i' and 'u' integers, 'f' and 'c' floats and complex numbers, 'E'
// bfloat16. Nothing if no dtype holds them.
std::optional<ElementType> element_type(char kind, int64_t bytes);

// A buffer that is given back.
struct HeldBuffer {
  HeldBuffer() = default;
  HeldBuffer(const HeldBuffer&) = delete;
  ~HeldBuffer() {
    PyBuffer_Release(&buffer); // nothing where there is none
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
// sizes that cannot be.
void set_layout(ForeignView& view, int64_t ndim, const int64_t* shape, const int64_t* strides);

// The bytes from the lowest to behind the highest element, relative to `data`; (0, 0) if there
// are none.
std::pair<int64_t, int64_t> extent_of(const ForeignView& view);

// The attribute, or nothing if there is none; classes are not what their instances are. Raises
// what the attribute raises.
nb::object optional_attribute(nb::handle object, const char* name);

// An integer of Python. TypeError if it is none, OverflowError if int64 does not hold it.
int64_t read_size(nb::handle object, const char* what);

// What the object shows by one protocol; nothing if it does not have the protocol. Raises what
// the object raises, NoDtypeError for elements without a dtype, ValueError for what is not
// consistent.
std::optional<ForeignView> view_by_buffer(nb::handle object);
std::optional<ForeignView> view_by_dlpack(nb::handle object);
std::optional<ForeignView> view_by_interface(nb::handle object);

} // namespace narrows::python
