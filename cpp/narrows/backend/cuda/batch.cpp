#include "narrows/backend/cuda/batch.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/driver.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

constexpr size_t kMostArguments = kMostOperands + 2; // with scratch and parameters
// Kinds of pieces.
constexpr uint16_t kKernel = 0;
constexpr uint16_t kLibraryCall = 1;

// Ends a capture, however the work in it ends.
class Capture {
 public:
  Capture(cudaGraph_t graph, std::span<const cudaGraphNode_t> after) {
    check(
        cudaStreamBeginCaptureToGraph(
            stream(), graph, after.data(), nullptr, after.size(), cudaStreamCaptureModeRelaxed),
        "graph");
  }
  ~Capture() {
    if (open_) {
      cudaGraph_t graph;
      cudaStreamEndCapture(stream(), &graph);
      cudaGetLastError();
    }
  }
  static cudaStream_t stream() {
    static const cudaStream_t created = [] {
      cudaStream_t result;
      check(cudaStreamCreateWithFlags(&result, cudaStreamNonBlocking), "stream");
      return result;
    }();
    return created;
  }
  // The node that comes behind everything that was captured.
  cudaGraphNode_t end() {
    cudaStreamCaptureStatus status;
    cudaGraph_t graph = nullptr;
    const cudaGraphNode_t* last = nullptr;
    const cudaGraphEdgeData* edges = nullptr;
    size_t count = 0;
    check(
        cudaStreamGetCaptureInfo(stream(), &status, nullptr, &graph, &last, &edges, &count),
        "graph");
    cudaGraphNode_t result = count == 1 ? last[0] : nullptr;
    if (!result) {
      check(cudaGraphAddEmptyNode(&result, graph, last, count), "graph");
    }
    open_ = false;
    check(cudaStreamEndCapture(stream(), &graph), "graph");
    return result;
  }

 private:
  bool open_ = true;
};

} // namespace

// The head of a piece. A kernel's addresses and parameters follow it, or the call of a library.
struct Batch::Piece {
  const metal_emu::KernelInfo* kernel; // nullptr: a call of a library
  uint32_t groups[3];
  uint32_t threads;
  uint32_t operands;
  uint32_t unused;
  CUfunction function; // of a kernel that was compiled at run time

  const void* data() const {
    return this + 1;
  }
  const LibraryCall& library_call() const {
    return *static_cast<const LibraryCall*>(data());
  }
  // The arguments of a launch.
  std::array<void*, kMostArguments> arguments() const {
    auto* addresses = static_cast<std::uintptr_t*>(const_cast<void*>(data()));
    std::array<void*, kMostArguments> result;
    for (uint32_t i = 0; i <= operands; ++i) {
      result[i] = addresses + i; // the parameters come last
    }
    return result;
  }
};

const Batch::Piece& Batch::piece(size_t i) const {
  return *reinterpret_cast<const Piece*>(content_.data() + starts_[i]);
}

template <typename T>
void Batch::append(const T* values, size_t bytes) {
  const size_t at = content_.size();
  content_.resize(at + (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t), 0);
  std::memcpy(content_.data() + at, values, bytes);
}

void Batch::add(
    const metal_emu::KernelInfo& kernel,
    const gpu::Dispatch& dispatch,
    std::span<const Place> operands,
    CUfunction function) {
  order(operands, kKernel, [&](size_t i) { return kernel.parameters[i].written; });
  starts_.push_back(static_cast<uint32_t>(content_.size()));
  const Piece piece{
      &kernel,
      {dispatch.groups[0], dispatch.groups[1], dispatch.groups[2]},
      dispatch.threads,
      static_cast<uint32_t>(operands.size()),
      0,
      function};
  append(&piece, sizeof(piece));
  for (const Place& place : operands) {
    append(&place.address, sizeof(place.address));
  }
  append(dispatch.params.data(), function ? dispatch.params_size : kernel.parameters.back().size);
}

void Batch::add(const HeldLibraryCall& call, std::span<const Place> operands) {
  order(operands, kLibraryCall, [](size_t i) { return i >= LibraryCall::kFirstWritten; });
  starts_.push_back(static_cast<uint32_t>(content_.size()));
  const Piece piece{};
  append(&piece, sizeof(piece));
  append(static_cast<const LibraryCall*>(&call), sizeof(LibraryCall));
  held_plans_.push_back(call.held_plan);
}

template <typename IsWritten>
void Batch::order(std::span<const Place> operands, uint16_t kind, IsWritten&& is_written) {
  std::array<BlockUse, kMostArguments> uses;
  for (size_t i = 0; i < operands.size(); ++i) {
    uses[i] = {operands[i].block, is_written(i)};
  }
  dependencies_.add({uses.data(), operands.size()}, kind);
}

void Batch::clear() {
  starts_.clear();
  content_.clear();
  held_plans_.clear();
  dependencies_.clear();
}

void Batch::add_names(std::vector<const char*>& names) const {
  for (size_t i = 0; i < size(); ++i) {
    const Piece& piece = this->piece(i);
    names.push_back(piece.kernel ? piece.kernel->name.c_str() : piece.library_call().plan->name());
  }
}

void Batch::run(cudaStream_t stream) const {
  for (size_t i = 0; i < size(); ++i) {
    const Piece& piece = this->piece(i);
    if (!piece.kernel) {
      piece.library_call().plan->run(piece.library_call(), stream);
      continue;
    }
    if (piece.function) {
      std::array<void*, kMostArguments> arguments = piece.arguments();
      check(
          driver().launch_kernel(
              piece.function,
              piece.groups[0],
              piece.groups[1],
              piece.groups[2],
              piece.threads,
              1,
              1,
              0,
              stream,
              arguments.data(),
              nullptr),
          piece.kernel->name);
      continue;
    }
    check(
        cudaLaunchKernel(
            piece.kernel->entry,
            {piece.groups[0], piece.groups[1], piece.groups[2]},
            {piece.threads, 1, 1},
            piece.arguments().data(),
            0,
            stream),
        piece.kernel->name);
  }
}

Graph Batch::graph() const {
  cudaGraph_t created;
  check(cudaGraphCreate(&created, 0), "graph");
  Graph graph(created);
  std::vector<cudaGraphNode_t> nodes(size());
  std::vector<cudaGraphNode_t> waits;
  const uint32_t* shape = dependencies_.shape().data();
  for (size_t i = 0; i < size(); ++i) {
    const uint32_t count = Dependencies::count_of(*shape++);
    waits.clear();
    for (uint32_t w = 0; w < count; ++w) {
      waits.push_back(nodes[*shape++]);
    }
    const Piece& piece = this->piece(i);
    if (!piece.kernel) {
      Capture capture(graph.get(), waits);
      piece.library_call().plan->run(piece.library_call(), Capture::stream());
      nodes[i] = capture.end();
      continue;
    }
    std::array<void*, kMostArguments> arguments = piece.arguments();
    if (piece.function) {
      CUDA_KERNEL_NODE_PARAMS node{};
      node.func = piece.function;
      node.gridDimX = piece.groups[0];
      node.gridDimY = piece.groups[1];
      node.gridDimZ = piece.groups[2];
      node.blockDimX = piece.threads;
      node.blockDimY = node.blockDimZ = 1;
      node.kernelParams = arguments.data();
      check(
          driver().add_kernel_node(&nodes[i], graph.get(), waits.data(), waits.size(), &node),
          piece.kernel->name);
      continue;
    }
    cudaKernelNodeParams node{};
    node.func = piece.kernel->entry;
    node.gridDim = {piece.groups[0], piece.groups[1], piece.groups[2]};
    node.blockDim = {piece.threads, 1, 1};
    node.kernelParams = arguments.data();
    check(
        cudaGraphAddKernelNode(&nodes[i], graph.get(), waits.data(), waits.size(), &node),
        piece.kernel->name);
  }
  return graph;
}

} // namespace narrows::cuda
