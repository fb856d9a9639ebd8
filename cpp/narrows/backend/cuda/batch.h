// Work that was encoded and not submitted yet: pieces, and what each of them has to wait for.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "metal_kernels/compat/signature.h"
#include "narrows/backend/cuda/dependencies.h"
#include "narrows/backend/cuda/gemm.h"
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

// Kernels and products, each with what it waits for in the batch.
class Batch {
 public:
  // Equal for batches that differ only in kernels, addresses and numbers.
  using Shape = Dependencies::Shape;
  // The pieces themselves.
  using Content = std::vector<uint64_t>;

  void add(
      const metal_emu::KernelInfo& kernel,
      const gpu::Dispatch& dispatch,
      std::span<const Place> operands);
  void add(const Product& product, std::span<const Place> operands);
  void clear();

  size_t size() const {
    return starts_.size();
  }
  const Shape& shape() const {
    return dependencies_.shape();
  }
  // How many pieces may run side by side.
  size_t width() const {
    return dependencies_.width();
  }
  const Content& content() const {
    return content_;
  }
  // Adds the kernels in order; nullptr: a product.
  void add_kernels(std::vector<const metal_emu::KernelInfo*>& kernels) const;

  // Runs the pieces one after the other.
  void run(cudaStream_t stream) const;
  // The same as a graph, in which pieces wait for no more than they have to.
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
  std::vector<std::shared_ptr<const GemmPlan>> held_plans_; // of its products
  Dependencies dependencies_;
};

} // namespace narrows::cuda
