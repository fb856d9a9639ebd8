// Node: one recorded operation, its input edges and its outputs, in one block of memory.
#pragma once

#include <atomic>
#include <memory>

#include "narrows/core/dtype.h"
#include "narrows/core/layout.h"
#include "narrows/record/origin.h"
#include "narrows/runtime/buffer.h"
#include "narrows/runtime/device.h"
#include "narrows/runtime/event.h"

namespace narrows {

class array;
class Node;
class Primitive;

enum class Status : uint8_t {
  lazy,      // recorded
  scheduled, // taken by an evaluation that has not finished
  ready,     // has its value; no inputs any more, unless a transformation needs them
  failed,    // an asynchronous evaluation failed; the event has the error
};

// One result of a node. Its value is kept as long as somebody holds a handle on it.
struct Output {
  Node* node = nullptr;
  std::atomic<uint32_t> refs{0}; // handles: arrays of users and edges of nodes
  uint32_t index = 0;            // among the node's outputs
  Dtype dtype = Dtype::float32;
  Shape shape;

  // The value, once it is computed.
  Layout layout;
  BufferRef buffer;

  // Scratch of the planner, valid while `epoch` is the running plan's.
  uint64_t epoch = 0;
  uint32_t uses = 0;  // edges from nodes of the plan
  uint32_t value = 0; // index in the plan

  void retain();
  void release();
  // Retains unless no handle is left: for callers that found the output other than by a handle.
  bool retain_if_held();
};

class Node {
 public:
  // A node with default outputs and empty edges, which the caller fills in.
  static Node* create(
      std::shared_ptr<const Primitive> primitive, Stream stream, uint32_t inputs, uint32_t outputs);

  const Primitive& primitive() const {
    return *primitive_;
  }
  const std::shared_ptr<const Primitive>& primitive_ref() const {
    return primitive_;
  }
  // The stream that it runs on.
  Stream stream() const {
    return stream_;
  }
  // The stream that it was asked for. If that device lacks the kernel, the node runs on the CPU.
  Stream asked_stream() const {
    return asked_stream_;
  }
  void set_asked_stream(Stream stream) {
    asked_stream_ = stream;
  }
  uint32_t input_count() const {
    return input_count_;
  }
  uint32_t output_count() const {
    return output_count_;
  }
  array* inputs() {
    return reinterpret_cast<array*>(outputs_ + output_count_);
  }
  Output& output(uint32_t i) {
    return outputs_[i];
  }

  Status status() const {
    return status_.load(std::memory_order_acquire);
  }
  // Also keeps the table of pending nodes, see pending.h.
  void set_status(Status status) {
    if (status == Status::lazy) {
      enter_pending();
    }
    status_.store(status, std::memory_order_release);
    if (status != Status::lazy) {
      forget_pending();
    }
  }
  // Whether it is lazy and does not count as pending, because it cannot be evaluated.
  bool is_excluded() const {
    return pending_slot_.load(std::memory_order_acquire) == kNotPending && status() == Status::lazy;
  }

  Origin origin() const {
    return origin_;
  }

  // Marks a node that cannot be evaluated. It and the nodes that depend on it do not count as
  // pending work.
  void forget_pending() {
    if (pending_slot_.load(std::memory_order_relaxed) != kNotPending) {
      leave_pending();
    }
  }

  // Makes it what a placeholder is: lazy, and not to be evaluated.
  void exclude() {
    forget_pending();
    status_.store(Status::lazy, std::memory_order_release);
  }

  // The trace that it was recorded in, and that trace's family, see trace.h; 0: none.
  union {
    uint64_t trace = 0;
    Node* next_dead; // in the queue of nodes to destroy
  };
  uint32_t family = 0;

  // The event that is set when a scheduled node has its value. A failed node keeps it.
  EventRef event;

  // Releases the inputs and the primitive, when the value is there or will never be.
  void detach();

  // Gives an output its value if somebody still holds it. Its layout was set when the node was
  // scheduled, because others may read it since then.
  void commit(uint32_t output, const BufferRef& buffer);

  // The node has run. It keeps its inputs for the rules of its trace until that family of traces
  // ends; if the family has ended, it releases them at once.
  void keep_inputs();

  // Scratch of a traversal, valid while `epoch` is the traversal's.
  uint64_t epoch = 0;
  uint32_t pending = 0;

 private:
  friend struct Output;
  Node() = default;
  ~Node() = default;
  static void destroy(Node* node);
  // An output has lost its last handle. The node is destroyed with its last output.
  void drop_output();
  void lock();
  void unlock();

  friend class PendingTable;
  static constexpr uint32_t kNotPending = UINT32_MAX;
  void enter_pending();
  void leave_pending();
  friend class TraceFamilies;
  bool keeps_inputs_ = false;
  void forget_inputs_kept();
  std::atomic<uint32_t> pending_slot_{kNotPending}; // in the table of pending nodes
  Origin origin_ = current_origin();

  std::shared_ptr<const Primitive> primitive_;
  Output* outputs_ = nullptr;
  Stream stream_;
  Stream asked_stream_;
  uint32_t input_count_ = 0;
  uint32_t output_count_ = 0;
  uint32_t edges_capacity_ = 0;
  std::atomic<uint32_t> live_{0}; // outputs that have handles
  std::atomic<Status> status_{Status::lazy};
  std::atomic_flag value_lock_;
};

inline void Output::retain() {
  if (refs.fetch_add(1, std::memory_order_relaxed) == 0) {
    node->live_.fetch_add(1, std::memory_order_relaxed);
  }
}

inline bool Output::retain_if_held() {
  uint32_t held = refs.load(std::memory_order_relaxed);
  while (held > 0 && !refs.compare_exchange_weak(held, held + 1, std::memory_order_acq_rel)) {
  }
  return held > 0;
}

} // namespace narrows
