#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstring>

#include "bindings/convert_parts.h"
#include "narrows/ops/elementwise.h"
#include "narrows/runtime/parallel.h"

namespace narrows::python {
namespace {

// Copies of this size and more let other Python threads run meanwhile.
constexpr int64_t kLongCopy = 1 << 20;

using Foreign = nb::ndarray<nb::ro>;

// Element types of other libraries: those of arrays, and two that are narrowed on the way in.
struct ForeignType {
  Dtype dtype;
  bool from_double = false; // float64 or complex128, halved
};

std::optional<Dtype> dtype_of_code(uint8_t code, int bits) {
  using Code = nb::dlpack::dtype_code;
  switch (static_cast<Code>(code)) {
    case Code::Bool:
      return bool_;
    case Code::Int:
      return bits == 8 ? int8 : bits == 16 ? int16 : bits == 32 ? int32 : int64;
    case Code::UInt:
      return bits == 8 ? uint8 : bits == 16 ? uint16 : bits == 32 ? uint32 : uint64;
    case Code::Float:
      return bits == 16 ? float16 : bits == 32 ? float32 : float64;
    case Code::Bfloat:
      return bfloat16;
    case Code::Complex:
      return complex64;
    default:
      return std::nullopt;
  }
}

ForeignType type_of(const Foreign& from, std::optional<Dtype> wanted) {
  const nb::dlpack::dtype type = from.dtype();
  const std::optional<Dtype> dtype = dtype_of_code(type.code, type.bits);
  const bool complex128 = dtype == complex64 && type.bits == 128;
  if (!dtype || type.lanes != 1 || (!complex128 && type.bits != 8 * size_of(*dtype))) {
    fail<ValueError>(
        "[array] elements of ",
        int{type.bits},
        " bits with DLPack code ",
        int{type.code},
        " have no dtype.");
  }
  // Doubles stay doubles only where asked for.
  if (complex128 || (dtype == float64 && wanted != float64)) {
    return {complex128 ? complex64 : float32, true};
  }
  return {*dtype};
}

template <size_t item>
void gather(const std::byte* from, int64_t stride, std::byte* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * item, from + i * stride, item);
  }
}

// `numbers` doubles per element become floats.
void narrow(const std::byte* from, int64_t stride, std::byte* to, int64_t count, int64_t numbers) {
  for (int64_t i = 0; i < count; ++i) {
    const double* in = reinterpret_cast<const double*>(from + i * stride);
    float* out = reinterpret_cast<float*>(to) + i * numbers;
    for (int64_t j = 0; j < numbers; ++j) {
      out[j] = static_cast<float>(in[j]);
    }
  }
}

// Copies elements in any layout to a row-major buffer, row by row, on several threads.
class ForeignCopy {
 public:
  ForeignCopy(const Foreign& from, ForeignType type, const Shape& shape, void* to)
      : shape_(shape), type_(type), to_(static_cast<std::byte*>(to)) {
    from_item_ = size_of(type.dtype) * (type.from_double ? 2 : 1);
    from_ = static_cast<const std::byte*>(from.data());
    for (size_t i = 0; i < shape.size(); ++i) {
      strides_.push_back(from.stride(i) * from_item_);
    }
    // Rows that follow each other without gaps are one.
    while (shape_.size() > 1) {
      const size_t last = shape_.size() - 1;
      if (strides_[last - 1] != strides_[last] * shape_[last]) {
        break;
      }
      shape_[last - 1] *= shape_[last];
      strides_[last - 1] = strides_[last];
      shape_.pop_back();
      strides_.pop_back();
    }
    if (shape_.empty()) {
      shape_.push_back(1);
      strides_.push_back(from_item_);
    }
  }

  void run() {
    const int64_t length = shape_.back();
    const int64_t item = size_of(type_.dtype);
    parallel_for(element_count(shape_), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t in_row = i % length;
        const int64_t count = std::min(end - i, length - in_row);
        copy_row(row(i / length) + in_row * strides_.back(), to_ + i * item, count);
        i += count;
      }
    });
  }

 private:
  static constexpr int64_t kGrain = int64_t{1} << 18; // elements

  const std::byte* row(int64_t index) const {
    const std::byte* begin = from_;
    for (size_t axis = shape_.size() - 1; axis-- > 0;) {
      begin += index % shape_[axis] * strides_[axis];
      index /= shape_[axis];
    }
    return begin;
  }

  void copy_row(const std::byte* from, std::byte* to, int64_t count) const {
    const int64_t stride = strides_.back();
    const int64_t item = size_of(type_.dtype);
    if (type_.from_double) {
      narrow(from, stride, to, count, item / 4);
    } else if (stride == item) {
      std::memcpy(to, from, static_cast<size_t>(count * item));
    } else {
      switch (item) {
        case 1:
          return gather<1>(from, stride, to, count);
        case 2:
          return gather<2>(from, stride, to, count);
        case 4:
          return gather<4>(from, stride, to, count);
        default:
          return gather<8>(from, stride, to, count);
      }
    }
  }

  Shape shape_;
  Strides strides_; // bytes
  ForeignType type_;
  int64_t from_item_;
  const std::byte* from_;
  std::byte* to_;
};

} // namespace

bool is_foreign(nb::handle object) {
  return PyObject_CheckBuffer(object.ptr()) || nb::hasattr(object, "__dlpack__");
}

array from_foreign(nb::handle object, std::optional<Dtype> dtype) {
  Foreign from;
  if (!nb::try_cast(object, from)) {
    fail<ValueError>(
        "[array] the elements of this ",
        nb::type_name(object.type()).c_str(),
        " have no dtype, or it does not give access to them.");
  }
  if (from.device_type() != nb::device::cpu::value) {
    fail<ValueError>("[array] only arrays in the memory of the CPU can be copied.");
  }
  const ForeignType type = type_of(from, dtype);
  Shape shape;
  for (size_t i = 0; i < from.ndim(); ++i) {
    shape.push_back(static_cast<int64_t>(from.shape(i)));
  }
  const Stream stream = default_stream({Device::Type::cpu, 0});
  const int64_t bytes =
      checked_multiply("array", checked_size("array", shape), size_of(type.dtype));
  BufferRef buffer = allocate(backend_for(stream.device).memory(), bytes, "array");
  if (bytes > 0) {
    ForeignCopy copy(from, type, shape, buffer->memory);
    if (bytes >= kLongCopy) {
      nb::gil_scoped_release release;
      copy.run();
    } else {
      copy.run();
    }
  }
  const array made(shape, type.dtype, std::move(buffer), Layout::row_major(shape), stream);
  return dtype ? astype(made, *dtype) : made;
}

} // namespace narrows::python
