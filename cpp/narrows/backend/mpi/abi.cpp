#include "narrows/backend/mpi/abi.h"

#include <dlfcn.h>

#include <bit>
#include <string_view>

#include "narrows/core/errors.h"

namespace narrows::mpi {
namespace {

static_assert(std::endian::native == std::endian::little);

void* pointer(intptr_t value) {
  return reinterpret_cast<void*>(value);
}

// MPICH and those that follow it: libmpi.so.12.
Abi mpich() {
  return {
      "MPICH",
      2,
      3,
      0x44000000,
      0x54000001,
      0x58000003,
      0x58000001,
      0x58000002,
      {0x4c000137,
       0x4c000238,
       0x4c000439,
       0x4c00083a,
       0x4c00013b,
       0x4c00023c,
       0x4c00043d,
       0x4c00083e,
       0x4c00040a,
       0x4c00080b},
      pointer(-1),
      pointer(1)};
}

// The standard interface of MPI 5: libmpi_abi.so.
Abi standard() {
  return {
      "the standard interface",
      2048,
      4096,
      0x101,
      0x143,
      0x21,
      0x23,
      0x22,
      {0x240, 0x248, 0x250, 0x258, 0x241, 0x249, 0x251, 0x259, 0x210, 0x214},
      pointer(1),
      pointer(0)};
}

// Open MPI: handles are the addresses of objects in the library.
Abi open_mpi(void* library, const char* path) {
  const auto object = [&](const char* name) {
    void* found = dlsym(library, name);
    if (!found) {
      fail<std::runtime_error>("[init] ", path, " has no ", name, ", expected Open MPI.");
    }
    return reinterpret_cast<Handle>(found);
  };
  return {
      "Open MPI",
      2,
      3,
      object("ompi_mpi_comm_world"),
      object("ompi_mpi_errors_return"),
      object("ompi_mpi_op_sum"),
      object("ompi_mpi_op_max"),
      object("ompi_mpi_op_min"),
      {object("ompi_mpi_int8_t"),
       object("ompi_mpi_int16_t"),
       object("ompi_mpi_int32_t"),
       object("ompi_mpi_int64_t"),
       object("ompi_mpi_uint8_t"),
       object("ompi_mpi_uint16_t"),
       object("ompi_mpi_uint32_t"),
       object("ompi_mpi_uint64_t"),
       object("ompi_mpi_float"),
       object("ompi_mpi_double")},
      pointer(1),
      pointer(0)};
}

} // namespace

Abi abi_of(void* library, const char* path) {
  if (dlsym(library, "ompi_mpi_comm_world")) {
    return open_mpi(library, path);
  }
  void* function = dlsym(library, "MPI_Init_thread");
  Dl_info from;
  if (!function || !dladdr(function, &from)) {
    fail<std::runtime_error>("[init] ", path, " has no MPI_Init_thread, expected an MPI library.");
  }
  return std::string_view(from.dli_fname).find("mpi_abi") != std::string_view::npos ? standard()
                                                                                    : mpich();
}

} // namespace narrows::mpi
