// What the files that convert between Python objects and arrays share.
#pragma once

#include "bindings/convert.h"
#include "narrows/ops/creation.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/backend.h"

namespace narrows::python {

// An evaluated array on the CPU. write(memory) writes its elements, row-major; it is not called
// where there are none, or where memory is only counted.
template <typename Write>
array array_written_by(const Shape& shape, Dtype dtype, Write&& write) {
  const Stream stream = default_stream({Device::Type::cpu, 0});
  const int64_t bytes = checked_multiply("array", checked_size("array", shape), size_of(dtype));
  BufferRef buffer = allocate(backend_for(stream.device).memory(), bytes, "array");
  if (bytes > 0 && buffer->source->host_visible()) {
    write(static_cast<std::byte*>(buffer->memory));
  }
  return array(shape, dtype, std::move(buffer), Layout::row_major(shape), stream);
}

// An evaluated array of one element, on the CPU.
array scalar_array(const Scalar& scalar);

// int32, or int64 if that is too small.
Dtype smallest_integer_dtype(int64_t value);

// A Python bool, int, float or complex: its dtype as an array, and its value as a dtype.
// ValueError for integers beyond int64 (uint64, for that dtype).
Dtype number_dtype(PyObject* number);
Scalar number_scalar(PyObject* number, Dtype dtype);
int64_t read_int64(PyObject* integer);

// Nested lists and tuples of numbers or arrays.
array from_list(nb::handle list, std::optional<Dtype> dtype);

// Objects with a buffer or DLPack.
bool is_foreign(nb::handle object);
array from_foreign(nb::handle object, std::optional<Dtype> dtype);

// One element as a Python number.
nb::object element_to_python(const void* element, Dtype dtype);

} // namespace narrows::python
