// LibraryCall: work that a library of NVIDIA does instead of a kernel of metal_kernels/.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

namespace narrows::cuda {

struct LibraryCall;

// How a library computes operations of one kind. It lives as long as batches and graphs in which
// it stands.
class LibraryPlan {
 public:
  LibraryPlan();
  LibraryPlan(const LibraryPlan&) = delete;
  LibraryPlan& operator=(const LibraryPlan&) = delete;
  virtual ~LibraryPlan() = default;

  // What it computes, for messages.
  virtual const char* name() const = 0;
  virtual void run(const LibraryCall& call, cudaStream_t stream) const = 0;

  // Unique, unlike the address, which another plan may get later.
  uint64_t number() const {
    return number_;
  }

 private:
  const uint64_t number_;
};

// A call as plain data without padding. Equal calls do the same.
struct LibraryCall {
  const LibraryPlan* plan;
  uint64_t plan_number;
  const void* a;
  const void* b;
  void* c; // the result
  void* workspace;
  int64_t workspace_bytes;
  float alpha;
  float beta;

  // Of its operands a, b, c and workspace.
  static constexpr size_t kFirstWritten = 2;
};

// The call, with what must live until it has been encoded.
struct HeldLibraryCall : LibraryCall {
  std::shared_ptr<const LibraryPlan> held_plan;
};

} // namespace narrows::cuda
