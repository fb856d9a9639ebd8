// Evaluated arrays that the host writes.
#pragma once

#include <cstddef>
#include <utility>

#include "narrows/record/array.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/backend.h"
#include "narrows/runtime/literal.h"

namespace narrows {

// Whether the host may use the buffer's address. It may use that of borrowed memory and of
// literals.
inline bool is_host_visible(const Buffer& buffer) {
  return !buffer.source || buffer.source->host_visible();
}

// An evaluated array on the CPU. write(memory) writes its elements, row-major. It is not called
// where there are no elements, or where memory is only counted. An array of one element without
// dimensions becomes a literal. `op` names it in errors and reports.
template <typename Write>
array host_array(const char* op, const Shape& shape, Dtype dtype, Write&& write) {
  const Stream stream = default_stream({Device::Type::cpu, 0});
  const int64_t bytes = checked_multiply(op, checked_size(op, shape), size_of(dtype));
  BufferRef buffer = shape.empty() ? make_literal({dtype, {}})
                                   : allocate(backend_for(stream.device).memory(), bytes, op);
  if (bytes > 0 && is_host_visible(*buffer.get())) {
    write(static_cast<std::byte*>(buffer->memory));
  }
  return array(shape, dtype, std::move(buffer), Layout::row_major(shape), stream);
}

} // namespace narrows
