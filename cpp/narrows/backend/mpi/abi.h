// What the binary interfaces of MPI libraries differ in: Open MPI's, MPICH's and the standard one.
#pragma once

#include <array>
#include <cstdint>

#include "narrows/core/dtype.h"
#include "narrows/runtime/shared_library.h"

namespace narrows::mpi {

// A communicator, datatype, operation, request or error handler. Open MPI and the standard have
// pointers, MPICH has integers of 32 bits. A library reads and writes as much of it as it knows.
// That works where the first bytes of an integer are its lowest, and where a short argument is the
// lower half of a register: on all processors that narrows is built for.
using Handle = uintptr_t;

// Types that MPI computes with.
enum class Type : uint8_t { i8, i16, i32, i64, u8, u16, u32, u64, f32, f64 };
inline constexpr int kTypes = 10;

struct Abi {
  const char* name;
  int thread_serialized; // MPI_THREAD_SERIALIZED
  int thread_multiple;
  Handle world;
  Handle errors_return;
  Handle sum;
  Handle max;
  Handle min;
  std::array<Handle, kTypes> types; // in the order of Type
  void* in_place;
  void* status_ignore;
};

// The interface of a library. RuntimeError if it is not MPI.
Abi abi_of(const SharedLibrary& library);

} // namespace narrows::mpi
