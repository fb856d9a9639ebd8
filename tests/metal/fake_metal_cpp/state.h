// The state of the fake's objects.
#pragma once

#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <vector>

#include "Metal/Metal.hpp"
#include "fake_metal.h"
#include "narrows/backend/emulated/engine.h"

namespace fake_metal {

// Notes a mistake. The first one is also thrown.
[[noreturn]] void fail(const std::string& mistake);
void note(const std::string& mistake);

// The memory of a buffer. It is kept as long as anything refers to it, so that a use after its
// release is a mistake and no crash.
struct Storage {
  Storage(size_t bytes, uint64_t number);
  ~Storage();

  std::byte* memory;
  size_t length;
  uint64_t id;
  std::atomic<bool> alive{true};
};

struct SignalState {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t value = 0;
};

struct KernelState {
  const metal_emu::KernelInfo* kernel;
  bool was_compiled = false;
};

// Of a library that was compiled: its kernels by name, which last as long as the process.
struct LibraryState {
  std::map<std::string, const metal_emu::KernelInfo*> kernels;
};

// What is bound to a buffer index.
struct Bound {
  std::shared_ptr<Storage> storage;
  size_t offset = 0;
  std::vector<std::byte> bytes;        // of setBytes
  NS::SharedPtr<MTL::Buffer> retained; // by command buffers that retain
};

// A dispatch, or, without a kernel, a barrier.
struct Operation {
  const metal_emu::KernelInfo* kernel = nullptr;
  std::vector<Bound> bound;
  std::array<uint32_t, 3> groups{};
  uint32_t threads = 0;
};

struct QueueState;

struct EncoderState {
  QueueState* queue = nullptr;
  bool open = true;
  bool concurrent = false;
  bool retains = true;
  uint64_t number = 0;  // in its queue
  uint64_t covered = 0; // the highest number of an encoder that fences put before it
  const metal_emu::KernelInfo* kernel = nullptr;
  bool was_compiled = false; // the kernel
  std::map<NS::UInteger, Bound> bound;
  std::vector<Operation> operations;
  std::map<uint64_t, bool> since_barrier; // whether written, by storage
};

struct Step {
  std::shared_ptr<EncoderState> encoder; // nullptr: waits, or signals
  std::shared_ptr<SignalState> signal;
  uint64_t value = 0;
  bool waits = false;
};

struct CommandBufferState {
  std::mutex mutex; // of status and error
  MTL::CommandBufferStatus status = MTL::CommandBufferStatusNotEnqueued;
  std::string error;
  std::vector<Step> steps;
  std::vector<MTL::HandlerFunction> handlers;
  bool retains = true;
  std::shared_ptr<QueueState> queue;
};

struct QueueState {
  struct Use {
    uint64_t read = 0; // the numbers of the latest encoders
    uint64_t written = 0;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<MTL::CommandBuffer*> work;
  bool stop = false;
  std::thread thread;
  uint64_t encoders = 0;
  std::unordered_map<uint64_t, Use> uses; // by storage
};

// The state that all objects share. Never destroyed, because queues may run until the process ends.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> mistakes;
  Counts counts;
  std::optional<std::string> failing; // text in the name of the kernel that fails next
  int pauses = 0;
  bool compiles = false;
  uint32_t most_compiled_threads = 1024;
  uint64_t storages = 0;
  std::atomic<int64_t> objects{0};
  std::atomic<int64_t> buffers{0};
};
World& world();

// Runs a queue's command buffers until it is stopped.
void run_queue(QueueState& queue);

} // namespace fake_metal
