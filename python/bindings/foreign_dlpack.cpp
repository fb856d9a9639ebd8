// Arrays of other libraries, by DLPack.
#include "bindings/dlpack.h"
#include "bindings/foreign_view.h"

namespace narrows::python {
namespace {

std::optional<ElementType> type_of(const dlpack::Type& type) {
  const char kind = type.code == dlpack::kInt       ? 'i'
                    : type.code == dlpack::kUint    ? 'u'
                    : type.code == dlpack::kFloat   ? 'f'
                    : type.code == dlpack::kBfloat  ? 'E'
                    : type.code == dlpack::kComplex ? 'c'
                    : type.code == dlpack::kBool    ? 'b'
                                                    : '?';
  return type.lanes == 1 && type.bits % 8 == 0 ? element_type(kind, type.bits / 8) : std::nullopt;
}

void require_cpu(int64_t device_type) {
  if (device_type != dlpack::kCpu) {
    fail<ValueError>(
        "[array] the elements are on a device of DLPack type ",
        device_type,
        ". Only arrays in the memory of the CPU can be copied.");
  }
}

ForeignView view_of(std::shared_ptr<void> owner, const dlpack::Tensor& tensor) {
  require_cpu(tensor.device.type);
  const std::optional<ElementType> type = type_of(tensor.type);
  if (!type) {
    fail<NoDtypeError>(
        "[array] elements of ",
        int{tensor.type.bits},
        " bits and ",
        tensor.type.lanes,
        " lanes with DLPack code ",
        int{tensor.type.code},
        " have no dtype.");
  }
  ForeignView view{std::move(owner), static_cast<const std::byte*>(tensor.data), {}, {}, *type};
  if (!tensor.strides || tensor.ndim <= 0) {
    set_layout(view, tensor.ndim, tensor.shape, nullptr);
  } else {
    Strides strides;
    for (int32_t i = 0; i < std::min(tensor.ndim, kMostForeignDimensions); ++i) {
      int64_t bytes = 0;
      if (__builtin_mul_overflow(tensor.strides[i], type->bytes(), &bytes)) {
        bytes = INT64_MIN; // refused where it is used
      }
      strides.push_back(bytes);
    }
    set_layout(view, tensor.ndim, tensor.shape, strides.data());
  }
  if (tensor.byte_offset > static_cast<uint64_t>(INT64_MAX)) {
    fail<OverflowError>("[array] a DLPack offset of ", tensor.byte_offset, " bytes is too large.");
  }
  if (view.data) {
    view.data += tensor.byte_offset;
  }
  return view;
}

// Takes the tensor out of the capsule. The taker has to free it, and renames the capsule.
template <typename Managed>
ForeignView take(const nb::object& capsule) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), Managed::kName));
  if (!managed) {
    throw nb::python_error();
  }
  if constexpr (std::is_same_v<Managed, dlpack::Versioned>) {
    if (managed->major != dlpack::kMajorVersion) {
      fail<ValueError>("[array] DLPack version ", managed->major, ", expected version 1.");
    }
  }
  if (PyCapsule_SetName(capsule.ptr(), Managed::kUsedName) != 0) {
    throw nb::python_error();
  }
  const std::shared_ptr<void> owner(managed, [](void* held) {
    auto* taken = static_cast<Managed*>(held);
    if (taken->deleter) {
      taken->deleter(taken);
    }
  });
  return view_of(owner, managed->tensor);
}

// Producers before version 1 do not know `max_version`.
nb::object ask_for_capsule(const nb::object& method) {
  try {
    return method(nb::arg("max_version") = nb::make_tuple(dlpack::kMajorVersion, 0));
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_TypeError)) {
      throw;
    }
  }
  return method();
}

} // namespace

std::optional<ForeignView> view_by_dlpack(nb::handle object) {
  const nb::object method = optional_attribute(object, "__dlpack__");
  if (!method.is_valid()) {
    return std::nullopt;
  }
  const nb::object device_method = optional_attribute(object, "__dlpack_device__");
  if (device_method.is_valid()) {
    const nb::object device = device_method();
    if (!PyTuple_Check(device.ptr()) || PyTuple_GET_SIZE(device.ptr()) != 2) {
      fail<ValueError>("[array] __dlpack_device__() returned no pair of integers.");
    }
    require_cpu(read_size(PyTuple_GET_ITEM(device.ptr(), 0), "__dlpack_device__()"));
  }
  const nb::object capsule = ask_for_capsule(method);
  if (PyCapsule_IsValid(capsule.ptr(), dlpack::Versioned::kName)) {
    return take<dlpack::Versioned>(capsule);
  }
  if (PyCapsule_IsValid(capsule.ptr(), dlpack::Unversioned::kName)) {
    return take<dlpack::Unversioned>(capsule);
  }
  fail<ValueError>(
      "[array] __dlpack__() returned a ",
      nb::type_name(capsule.type()).c_str(),
      ", expected a DLPack capsule that nobody has taken.");
}

} // namespace narrows::python
