#include "narrows/backend/cuda/memory.h"
#include "metal_kernels/fill.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <stdexcept>

#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/queue.h"
#include "narrows/core/divided_up.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cuda {
namespace {

constexpr int64_t kChunkBytes = int64_t{4} << 20;
constexpr int64_t kAlignment = 64; // of transfers within a chunk

} // namespace

void* CudaMemory::allocate(int64_t bytes) {
  check_process();
  use_device();
  void* memory = nullptr;
  if (cudaMalloc(&memory, static_cast<size_t>(bytes)) != cudaSuccess) {
    cudaGetLastError(); // it is not an error yet
    return nullptr;
  }
  std::lock_guard lock(blocks_mutex_);
  blocks_.insert(memory);
  return memory;
}

// Waits for the device, which may still use the memory.
void CudaMemory::release(void* memory, int64_t) {
  if (!is_usable_process()) {
    return;
  }
  try {
    use_device();
    submit();
  } catch (const std::runtime_error&) {
    // The threads that wait for the work get its error.
  }
  cudaFree(memory);
  std::lock_guard lock(blocks_mutex_);
  blocks_.erase(memory);
}

const void* CudaMemory::block_of(const void* address) {
  std::lock_guard lock(blocks_mutex_);
  return *std::prev(blocks_.upper_bound(address));
}

int64_t CudaMemory::capacity() const {
  static const int64_t total = [] {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device_number()), "memory size");
    return static_cast<int64_t>(properties.totalGlobalMem);
  }();
  return total;
}

std::array<CudaMemory::Chunk, 2>& CudaMemory::chunks() {
  for (Chunk& chunk : chunks_) {
    if (!chunk.memory) {
      check(cudaMallocHost(&chunk.memory, kChunkBytes), "staging memory");
      check(cudaEventCreateWithFlags(&chunk.done, cudaEventDisableTiming), "event");
    }
  }
  return chunks_;
}

// A kernel's parameter is faster than a transfer.
void write_number(const Place& place, const void* value, int64_t bytes) {
  FillParams params{1, 0};
  std::memcpy(&params.value, value, static_cast<size_t>(bytes));
  const Dtype dtype = bytes == 1 ? uint8 : bytes == 2 ? uint16 : bytes == 4 ? uint32 : uint64;
  const KernelId kernel{KernelFamily::fill, 0, dtype, dtype};
  gpu::Dispatches dispatches;
  gpu::fill_row.dispatch(
      {kernel, {&place.address, 1}, std::as_bytes(std::span(&params, 1))}, dispatches);
  launch(dispatches.all()[0], {&place, 1});
}

void CudaMemory::write(const void* from, void* to, int64_t bytes) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  use_device();
  if (bytes <= 8 && std::has_single_bit(static_cast<uint64_t>(bytes))) {
    write_number({reinterpret_cast<std::uintptr_t>(to), block_of(to)}, from, bytes);
    return;
  }
  const cudaStream_t stream = submit();
  std::lock_guard lock(mutex_);
  for (int64_t at = 0; at < bytes;) {
    const std::span<std::byte> staged = room(bytes - at);
    copy_bytes(source + at, staged.data(), std::ssize(staged));
    check(
        cudaMemcpyAsync(target + at, staged.data(), staged.size(), cudaMemcpyHostToDevice, stream),
        "transfer to the device");
    at += std::ssize(staged);
  }
}

// Many short transfers fill a chunk before one waits for the device.
std::span<std::byte> CudaMemory::room(int64_t bytes) {
  if (used_ == kChunkBytes) {
    check(cudaEventRecord(chunks()[turn_].done, stream()), "event");
    turn_ = 1 - turn_;
    wait_for(chunks()[turn_].done);
    used_ = 0;
  }
  const int64_t count = std::min(kChunkBytes - used_, bytes);
  std::byte* const memory = static_cast<std::byte*>(chunks()[turn_].memory) + used_;
  used_ = std::min(kChunkBytes, used_ + divided_up(count, kAlignment) * kAlignment);
  return {memory, static_cast<size_t>(count)};
}

void CudaMemory::read(const void* from, void* to, int64_t bytes) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  use_device();
  const cudaStream_t stream = submit();
  std::lock_guard lock(mutex_);
  const int64_t pieces = divided_up(bytes, kChunkBytes);
  const auto size_of_piece = [&](int64_t piece) {
    return std::min(kChunkBytes, bytes - piece * kChunkBytes);
  };
  // One piece is transferred while the one before is copied.
  for (int64_t piece = 0; piece <= pieces; ++piece) {
    if (piece < pieces) {
      Chunk& chunk = chunks()[piece % 2];
      check(
          cudaMemcpyAsync(
              chunk.memory,
              source + piece * kChunkBytes,
              static_cast<size_t>(size_of_piece(piece)),
              cudaMemcpyDeviceToHost,
              stream),
          "transfer to the host");
      check(cudaEventRecord(chunk.done, stream), "event");
    }
    if (piece > 0) {
      Chunk& before = chunks()[(piece - 1) % 2];
      wait_for(before.done);
      copy_bytes(before.memory, target + (piece - 1) * kChunkBytes, size_of_piece(piece - 1));
    }
  }
  used_ = 0; // what was written before these transfers has arrived
}

} // namespace narrows::cuda
