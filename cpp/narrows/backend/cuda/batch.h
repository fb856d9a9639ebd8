// Batch: work that was encoded and is not yet submitted. It consists of pieces; each piece knows
// which others it has to wait for.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "metal_kernels/compat/signature.h"
#include "narrows/backend/cuda/dependencies.h"
#include "narrows/backend/cuda/library_call.h"
#include "narrows/backend/gpu/dispatch.h"

namespace narrows::cuda {

// An address on the device, and the block of memory that it lies in.
struct Place {
  std::uintptr_t address = 0;
  const void* block = nullptr;
};

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const {
    cudaGraphDestroy(graph);
  }
};
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;

// A kernel that was compiled at run time.
struct CompiledKernel {
  metal_emu::KernelInfo info; // without an entry
  CUfunction function;
};

// Kernels and calls of libraries, each with the pieces of the batch that it waits for.
class Batch {
 public:
  // Equal for batches that differ only in kernels, addresses and numbers.
  using Shape = Dependencies::Shape;
  // The pieces themselves.
  using Content = std::vector<uint64_t>;
  // Of its calls of libraries.
  using HeldPlans = std::vector<std::shared_ptr<const LibraryPlan>>;

  void add(
      const metal_emu::KernelInfo& kernel,
      const gpu::Dispatch& dispatch,
      std::span<const Place> operands,
      CUfunction function = nullptr); // of a kernel that was compiled at run time
  void add(const HeldLibraryCall& call, std::span<const Place> operands);
  void clear();

  size_t size() const {
    return starts_.size();
  }
  const Shape& shape() const {
    return dependencies_.shape();
  }
  bool has_library_calls() const {
    return !held_plans_.empty();
  }
  const HeldPlans& held_plans() const {
    return held_plans_;
  }
  // How many pieces can run side by side.
  size_t width() const {
    return dependencies_.width();
  }
  const Content& content() const {
    return content_;
  }
  // Appends the names of what the pieces compute, which live as long as the process.
  void add_names(std::vector<const char*>& names) const;

  // Runs the pieces one after the other.
  void run(cudaStream_t stream) const;
  // Runs the batch as a graph, in which pieces wait only for those that they have to wait for.
  Graph graph() const;

 private:
  struct Piece;

  template <typename IsWritten>
  void order(std::span<const Place> operands, uint16_t kind, IsWritten&& is_written);
  template <typename T>
  void append(const T* values, size_t bytes);
  const Piece& piece(size_t i) const;

  std::vector<uint32_t> starts_; // of the pieces, in content_
  Content content_;
  HeldPlans held_plans_;
  Dependencies dependencies_;
};

} // namespace narrows::cuda
