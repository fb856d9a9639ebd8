// Work that was encoded and not submitted yet: pieces, and what each of them has to wait for.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "metal_kernels/compat/signature.h"
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

// A piece waits for those before it that write what it reads or writes, or read what it writes.
// Blocks are told apart by their memory, so this holds too where memory that was free in between
// belongs to another array now.
class Batch {
 public:
  // What has to be known of a piece to order it; equal for batches that differ only in kernels,
  // addresses and numbers.
  using Shape = std::vector<uint32_t>;
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
    return shape_;
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
  struct Use {
    uint32_t writer = kNobody;
    std::vector<uint32_t> readers; // since then
  };
  struct Piece;
  static constexpr uint32_t kNobody = UINT32_MAX;

  template <typename IsWritten>
  void order(std::span<const Place> operands, IsWritten&& is_written);
  template <typename T>
  void append(const T* values, size_t bytes);
  const Piece& piece(size_t i) const;

  std::vector<uint32_t> starts_; // of the pieces, in content_
  Content content_;
  Shape shape_;           // for each piece: how many it waits for, and which
  size_t last_shape_ = 0; // where the latest piece begins in shape_
  std::unordered_map<const void*, Use> uses_;
};

} // namespace narrows::cuda
