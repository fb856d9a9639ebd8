// The NCCL library, loaded when it is asked for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "narrows/backend/nccl/messages.h"

namespace narrows::nccl {

// What nccl.h has for C programs. Its binary interface is stable within version 2.
using Communicator = void*;
using Stream = void*; // cudaStream_t

enum class Status : int { success = 0, in_progress = 7 };
enum class Type : int { i8, u8, i32, u32, i64, u64, f16, f32, f64, bf16 };
enum class Operation : int { sum, product, max, min };

// ncclConfig_t of version 2.18. Libraries take as much of it as its size says.
struct Config {
  static constexpr int kUndefined = -2147483647 - 1;

  size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21805;
  int blocking = 0; // calls return at once
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
};

#define NARROWS_NCCL_FUNCTIONS(F)                                                               \
  F(GetVersion, Status, (int*))                                                                 \
  F(GetUniqueId, Status, (UniqueId*))                                                           \
  F(CommInitRankConfig, Status, (Communicator*, int, UniqueId, int, Config*))                   \
  F(CommSplit, Status, (Communicator, int, int, Communicator*, Config*))                        \
  F(CommFinalize, Status, (Communicator))                                                       \
  F(CommDestroy, Status, (Communicator))                                                        \
  F(CommAbort, Status, (Communicator))                                                          \
  F(CommGetAsyncError, Status, (Communicator, Status*))                                         \
  F(GetErrorString, const char*, (Status))                                                      \
  F(GetLastError, const char*, (Communicator))                                                  \
  F(AllReduce, Status, (const void*, void*, size_t, Type, Operation, Communicator, Stream))     \
  F(ReduceScatter, Status, (const void*, void*, size_t, Type, Operation, Communicator, Stream)) \
  F(AllGather, Status, (const void*, void*, size_t, Type, Communicator, Stream))                \
  F(Send, Status, (const void*, size_t, Type, int, Communicator, Stream))                       \
  F(Recv, Status, (void*, size_t, Type, int, Communicator, Stream))

struct Library {
  std::string path;
#define F(name, Result, parameters) Result(*name) parameters = nullptr;
  NARROWS_NCCL_FUNCTIONS(F)
#undef F

  // RuntimeError with the library's words, unless the call has succeeded or goes on.
  void check(Status status, Communicator communicator) const;
};

// The library: the one that NARROWS_NCCL_LIBRARY names, one that the process has loaded already,
// the first of these paths that there is, or one of the system's. nullptr if there is none. It is
// loaded once. RuntimeError if the library is not NCCL 2.18 or later.
const Library* load(const std::vector<std::string>& paths);

} // namespace narrows::nccl
