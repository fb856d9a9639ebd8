// Work that the device has not finished: the buffers that it keeps alive, and the events that it
// sets or fails.
#pragma once

#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "narrows/backend/metal/metal_cpp.h"
#include "narrows/runtime/buffer.h"
#include "narrows/runtime/event.h"

namespace narrows::metal {

// A command buffer.
struct Batch {
  NS::SharedPtr<MTL::CommandBuffer> commands;
  uint64_t value = 0; // the value of its stream's signal when it has run

  std::unordered_map<const Buffer*, BufferRef> buffers; // that must outlive it
  std::set<std::thread::id> threads;                    // that encoded it
  std::vector<const std::string*> kernels;              // in order, for messages
  std::vector<EventRef> waits;                          // set before it runs
  int64_t written = 0;                                  // bytes of the buffers that it writes

  // Guarded by InFlight.
  struct Recorded {
    EventRef event;
    std::thread::id thread;
  };
  std::vector<Recorded> events; // set when it has run
  bool completed = false;
  std::exception_ptr error;
};

// The batches of one stream that have been committed, in order.
struct StreamWork {
  NS::SharedPtr<MTL::SharedEvent> signal; // takes the values of the batches as they end
  std::deque<std::shared_ptr<Batch>> batches;
  int64_t written = 0;                                  // bytes, by all of them
  std::map<std::thread::id, std::exception_ptr> errors; // not yet given to an event
};

// All streams' work: a batch can wait for events of another stream, whose error is then its own.
class InFlight {
 public:
  // Adds a batch, before it is committed. The device then calls complete().
  void add(StreamWork& stream, std::shared_ptr<Batch> batch);
  void complete(StreamWork& stream, const std::shared_ptr<Batch>& batch, std::exception_ptr error);

  // The event is set, or failed, when all batches of the stream have run.
  void record(StreamWork& stream, const EventRef& event);

  // The signal, and its value, that stand for an event which is not over yet.
  struct Signal {
    StreamWork* stream;
    uint64_t value;
  };
  std::optional<Signal> find(const EventRef& event);

  // Return when the batches of the stream have written at most `most` bytes, or have all run.
  // Interruptible.
  void wait_for_bytes(StreamWork& stream, int64_t most);
  void wait_for_all(StreamWork& stream);

 private:
  bool retire_one();
  void retire(StreamWork& stream, Batch& batch);
  void finish(StreamWork& stream, const Batch::Recorded& recorded);

  std::mutex mutex_;
  std::set<StreamWork*> streams_; // that have batches
  std::unordered_map<const Event*, Signal> signals_;
};

} // namespace narrows::metal
