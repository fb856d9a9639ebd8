#include <optional>
#include <vector>

#include "bindings/foreign_view.h"
#include "narrows/ops/elementwise.h"
#include "narrows/run/encode.h"

namespace narrows::python {
namespace {

// Copies of at least so many elements let other Python threads run.
constexpr int64_t kLongCopy = 1 << 18;

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

// The numbers of a view, with strides in bytes.
Numbers numbers_of(const ForeignView& view) {
  Numbers numbers{const_cast<std::byte*>(view.data), view.shape, view.strides, view.type.dtype};
  if (view.type.pairs) {
    numbers.shape.push_back(2);
    numbers.strides.push_back(size_of(view.type.dtype));
  }
  // The bytes of bools of other libraries may have any value, those of C++ may not.
  if (numbers.dtype == bool_) {
    numbers.dtype = uint8;
  }
  return numbers;
}

// Reads each number as bytes.
Numbers bytewise(Numbers numbers) {
  numbers.shape.push_back(size_of(numbers.dtype));
  numbers.strides.push_back(1);
  numbers.dtype = uint8;
  return numbers;
}

// Copies as the CPU copies arrays: on all threads, in an order that suits both layouts.
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

// Whether all numbers are aligned to their size.
bool is_aligned(const Numbers& numbers) {
  const int64_t item = size_of(numbers.dtype);
  bool aligned = reinterpret_cast<std::uintptr_t>(numbers.data) % static_cast<size_t>(item) == 0;
  for (int64_t stride : numbers.strides) {
    aligned &= stride % item == 0;
  }
  return aligned;
}

// From strides in bytes.
void copy_foreign(Numbers from, const Numbers& to) {
  if (is_aligned(from)) {
    for (int64_t& stride : from.strides) {
      stride /= size_of(from.dtype);
    }
    copy_numbers(from, to);
    return;
  }
  std::vector<std::byte> aligned(
      static_cast<size_t>(element_count(from.shape) * size_of(from.dtype)));
  const Numbers between = row_major(aligned.data(), from.shape, from.dtype);
  copy_numbers(bytewise(from), row_major(aligned.data(), bytewise(from).shape, uint8));
  copy_numbers(between, to);
}

// The result of __array__(), read by the protocols of NumPy's arrays.
std::optional<ForeignView> view_by_method(nb::handle object) {
  const nb::object method = optional_attribute(object, "__array__");
  if (!method.is_valid()) {
    return std::nullopt;
  }
  const nb::object made = method();
  std::optional<ForeignView> view;
  try {
    view = view_by_buffer(made);
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_ValueError)) {
      throw;
    }
  }
  if (!view && !(view = view_by_interface(made))) {
    fail<ValueError>(
        "[array] __array__() of ",
        nb::type_name(object.type()).c_str(),
        " returned ",
        nb::type_name(made.type()).c_str(),
        ", expected an array of NumPy.");
  }
  return view;
}

// Uses the first protocol that the object supports. NumPy's arrays of bfloat16, for example, have
// no buffer.
ForeignView view_of(nb::handle object) {
  std::optional<nb::python_error> refusal;
  for (auto view_by : {view_by_buffer, view_by_dlpack, view_by_interface, view_by_method}) {
    try {
      if (std::optional<ForeignView> view = view_by(object)) {
        return std::move(*view);
      }
    } catch (nb::python_error& error) {
      if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) {
        throw;
      }
      if (!refusal) {
        refusal.emplace(std::move(error));
      }
    }
  }
  const std::string type = nb::type_name(object.type()).c_str();
  if (refusal) {
    nb::raise_from(
        *refusal,
        PyExc_ValueError,
        "[array] this %s gives no access to its elements.",
        type.c_str());
  }
  fail<ValueError>("[array] this ", type, " shows no elements.");
}

array copy_of(const ForeignView& view, std::optional<Dtype> wanted) {
  const int64_t count = element_count(view.shape);
  if (!view.data && count > 0) {
    fail<ValueError>("[array] ", count, " elements at no address.");
  }
  // float64 stays float64 only if it is asked for.
  const Dtype read = view.type.dtype;
  const Dtype number = view.type.pairs || (read == float64 && wanted != float64) ? float32 : read;
  const Dtype dtype = view.type.pairs ? complex64 : number;
  const array made = host_array("array", view.shape, dtype, [&](std::byte* memory) {
    const Numbers from = numbers_of(view);
    std::optional<nb::gil_scoped_release> released;
    if (count >= kLongCopy) {
      released.emplace();
    }
    copy_foreign(from, row_major(memory, from.shape, number));
  });
  return wanted ? astype(made, *wanted) : made;
}

} // namespace

bool is_foreign(nb::handle object) {
  if (PyObject_CheckBuffer(object.ptr())) {
    return true;
  }
  for (const char* protocol : {"__dlpack__", "__array_interface__", "__array__"}) {
    if (optional_attribute(object, protocol).is_valid()) {
      return true;
    }
  }
  return false;
}

array from_foreign(nb::handle object, std::optional<Dtype> dtype) {
  return copy_of(view_of(object), dtype);
}

array from_dlpack(nb::handle object) {
  const std::optional<ForeignView> view = view_by_dlpack(object);
  if (!view) {
    fail<TypeError>(
        "[from_dlpack] ", nb::type_name(object.type()).c_str(), " has no __dlpack__().");
  }
  return copy_of(*view, std::nullopt);
}

void convert_elements(const array& from, Dtype dtype, std::byte* to) {
  copy_numbers(
      row_major(from.data(), from.shape(), from.dtype()), row_major(to, from.shape(), dtype));
}

} // namespace narrows::python
