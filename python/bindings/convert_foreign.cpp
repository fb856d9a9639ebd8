#include <nanobind/ndarray.h>

#include <optional>
#include <vector>

#include "bindings/convert_parts.h"
#include "narrows/ops/elementwise.h"
#include "narrows/run/encode.h"

namespace narrows::python {
namespace {

// Copies of so many elements and more let other Python threads run meanwhile.
constexpr int64_t kLongCopy = 1 << 18;

using Foreign = nb::ndarray<nb::ro>;

// Element types of other libraries: those of arrays, and two that are narrowed on the way in.
struct ForeignType {
  Dtype dtype;        // of the array
  Dtype from;         // of the numbers that are read
  bool pairs = false; // two of them make an element: float32 in the array
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
  if (complex128) {
    return {complex64, float64, true};
  }
  // Doubles stay doubles only where asked for.
  return {dtype == float64 && wanted != float64 ? float32 : *dtype, *dtype};
}

// Numbers in any layout.
struct Numbers {
  void* data;
  Shape shape;
  Strides strides; // numbers
  Dtype dtype;
};

Numbers row_major(void* data, const Shape& shape, Dtype dtype) {
  return {data, shape, Layout::row_major(shape).strides, dtype};
}

// Each number as its bytes.
Numbers bytewise(Numbers numbers) {
  const int64_t item = size_of(numbers.dtype);
  for (int64_t& stride : numbers.strides) {
    stride *= item;
  }
  numbers.shape.push_back(item);
  numbers.strides.push_back(1);
  numbers.dtype = uint8;
  return numbers;
}

// As the CPU copies arrays: on all threads, and in an order that suits both layouts.
void copy_numbers(const Numbers& from, const Numbers& to) {
  Backend& cpu = backend_for({Device::Type::cpu, 0});
  const BufferRef source = borrow(from.data, 0, {});
  const BufferRef target = borrow(to.data, 0, {});
  const Layout from_layout = Layout::strided(from.shape, from.strides, 0);
  const Layout to_layout = Layout::strided(to.shape, to.strides, 0);
  encode_copy(
      cpu.encoder(default_stream({Device::Type::cpu, 0})),
      {source.get(), &from.shape, &from_layout, from.dtype},
      {target.get(), &to.shape, &to_layout, to.dtype});
}

void copy_foreign(const Numbers& from, const Numbers& to) {
  if (reinterpret_cast<std::uintptr_t>(from.data) % static_cast<size_t>(size_of(from.dtype)) == 0) {
    copy_numbers(from, to);
    return;
  }
  std::vector<std::byte> aligned(
      static_cast<size_t>(element_count(from.shape) * size_of(from.dtype)));
  const Numbers between = row_major(aligned.data(), from.shape, from.dtype);
  copy_numbers(bytewise(from), bytewise(between));
  copy_numbers(between, to);
}

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
  Strides strides;
  for (size_t i = 0; i < from.ndim(); ++i) {
    shape.push_back(static_cast<int64_t>(from.shape(i)));
    strides.push_back(from.stride(i) * (type.pairs ? 2 : 1));
  }
  const array made = host_array("array", shape, type.dtype, [&](std::byte* memory) {
    Numbers numbers{const_cast<void*>(from.data()), shape, strides, type.from};
    if (type.pairs) {
      numbers.shape.push_back(2);
      numbers.strides.push_back(1);
    }
    const Numbers to = row_major(memory, numbers.shape, type.pairs ? float32 : type.dtype);
    std::optional<nb::gil_scoped_release> released;
    if (element_count(shape) >= kLongCopy) {
      released.emplace();
    }
    copy_foreign(numbers, to);
  });
  return dtype ? astype(made, *dtype) : made;
}

} // namespace narrows::python
