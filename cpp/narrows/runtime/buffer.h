// Blocks of device memory, counted by their holders.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

namespace narrows {

struct MemoryAccount;

// Where a backend's memory comes from. It caches and counts nothing: the allocator does that for
// all backends.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // nullptr when there is none left. `bytes` > 0.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* memory, int64_t bytes) = 0;
  // Whether the host may read and write the memory through its address.
  virtual bool host_visible() const = 0;
  // The largest total size of all its blocks.
  virtual int64_t capacity() const = 0;

  // Copies between this memory and the host's, in order with work that was encoded before. They
  // return when the host may use its side again.
  virtual void read(const void* from, void* to, int64_t bytes);
  virtual void write(const void* from, void* to, int64_t bytes);

  MemoryAccount* account = nullptr; // the allocator's
};

// A block that arrays share. Made by allocate(), borrow() or make_literal() only.
struct Buffer {
  void* memory = nullptr;
  int64_t bytes = 0;                   // as counted: the request, rounded
  int64_t capacity = 0;                // of the block, >= bytes
  MemorySource* source = nullptr;      // nullptr: borrowed from `owner`, or a literal
  bool is_literal = false;             // see literal.h
  std::function<void()> release_owner; // of borrowed memory
  const char* label = "";              // the operation that asked for it
  std::atomic<uint32_t> refs{0};

  // Scratch of the planner, valid while `epoch` is the running plan's.
  uint64_t epoch = 0;
  uint32_t planned = 0;

  // Links of the allocator: live buffers, or the cache from the latest used to the oldest.
  Buffer* previous = nullptr;
  Buffer* next = nullptr;
};

void release_buffer(Buffer* buffer);

// Shared ownership of a buffer.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* buffer) : buffer_(buffer) {
    retain();
  }
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    retain();
  }
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {
  }
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    reset();
  }
  void reset() {
    Buffer* buffer = std::exchange(buffer_, nullptr);
    if (buffer && buffer->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      release_buffer(buffer);
    }
  }
  Buffer* get() const {
    return buffer_;
  }
  Buffer* operator->() const {
    return buffer_;
  }
  explicit operator bool() const {
    return buffer_ != nullptr;
  }

 private:
  void retain() {
    if (buffer_) {
      buffer_->refs.fetch_add(1, std::memory_order_relaxed);
    }
  }
  Buffer* buffer_ = nullptr;
};

} // namespace narrows
