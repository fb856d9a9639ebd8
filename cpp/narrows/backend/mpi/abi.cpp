#include "narrows/backend/mpi/abi.h"

#include <bit>

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
Abi open_mpi(const SharedLibrary& library) {
  const auto object = [&](const char* name) {
    void* found = library.symbol(name);
    if (!found) {
      fail<std::runtime_error>("[init] ", library.path(), " has no ", name, ", expected Open MPI.");
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

Abi abi_of(const SharedLibrary& library) {
  if (library.symbol("ompi_mpi_comm_world")) {
    return open_mpi(library);
  }
  const void* function = library.symbol("MPI_Init_thread");
  if (!function) {
    fail<std::runtime_error>(
        "[init] ", library.path(), " has no MPI_Init_thread, expected an MPI library.");
  }
  return file_of(function).find("mpi_abi") != std::string::npos ? standard() : mpich();
}

} // namespace narrows::mpi
