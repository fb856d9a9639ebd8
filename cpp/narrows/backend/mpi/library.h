// The MPI library, loaded when it is asked for.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "narrows/backend/mpi/abi.h"

namespace narrows::mpi {

// The functions that are used of it. All that may take long are those that return at once.
#define NARROWS_MPI_FUNCTIONS(F)                                                 \
  F(Initialized, (int*))                                                         \
  F(Finalized, (int*))                                                           \
  F(Init_thread, (int*, char***, int, int*))                                     \
  F(Query_thread, (int*))                                                        \
  F(Finalize, ())                                                                \
  F(Error_string, (int, char*, int*))                                            \
  F(Comm_rank, (Handle, int*))                                                   \
  F(Comm_size, (Handle, int*))                                                   \
  F(Comm_idup, (Handle, Handle*, Handle*))                                       \
  F(Comm_split, (Handle, int, int, Handle*))                                     \
  F(Comm_set_errhandler, (Handle, Handle))                                       \
  F(Op_create, (void (*)(void*, void*, int*, Handle*), int, Handle*))            \
  F(Test, (Handle*, int*, void*))                                                \
  F(Isend, (const void*, int, Handle, int, int, Handle, Handle*))                \
  F(Irecv, (void*, int, Handle, int, int, Handle, Handle*))                      \
  F(Iallreduce, (const void*, void*, int, Handle, Handle, Handle, Handle*))      \
  F(Iallgather, (const void*, int, Handle, void*, int, Handle, Handle, Handle*)) \
  F(Ireduce_scatter_block, (const void*, void*, int, Handle, Handle, Handle, Handle*))

struct Library {
  std::string path;
  Abi abi;
  // Libraries need not allow calls of several threads at once. Calls are short.
  std::mutex mutex;
#define F(name, parameters) int(*name) parameters = nullptr;
  NARROWS_MPI_FUNCTIONS(F)
#undef F

  // Calls a function. RuntimeError, with the library's words, unless it succeeds.
  template <typename... Parameters, typename... Arguments>
  void call(int (*function)(Parameters...), Arguments... arguments) {
    std::lock_guard lock(mutex);
    if (const int error = function(arguments...)) {
      raise(error);
    }
  }

  Handle type(Type t) const {
    return abi.types[static_cast<size_t>(t)];
  }

 private:
  [[noreturn]] void raise(int error) const;
};

// The library: one that the process has loaded already, the one that NARROWS_MPI_LIBRARY names, the
// first of these paths that there is, or one of the system's. nullptr if there is none. It is
// loaded once. RuntimeError if the library is not MPI.
Library* load(const std::vector<std::string>& paths);

} // namespace narrows::mpi
