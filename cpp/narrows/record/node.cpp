#include "narrows/record/node.h"

#include <new>
#include <utility>

#include "narrows/record/array.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"

namespace narrows {
namespace {

constexpr size_t align_up(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

constexpr size_t kOutputsOffset = align_up(sizeof(Node), alignof(Output));

} // namespace

Node* Node::create(
    std::shared_ptr<const Primitive> primitive, Stream stream, uint32_t inputs, uint32_t outputs) {
  static_assert(alignof(array) <= alignof(Output));
  void* memory = ::operator new(kOutputsOffset + outputs * sizeof(Output) + inputs * sizeof(array));
  auto* node = new (memory) Node;
  node->primitive_ = std::move(primitive);
  node->stream_ = node->asked_stream_ = stream;
  const Trace trace = current_trace();
  node->trace = trace.number;
  node->family = trace.family;
  node->input_count_ = node->edges_capacity_ = inputs;
  node->output_count_ = outputs;
  node->outputs_ = reinterpret_cast<Output*>(static_cast<std::byte*>(memory) + kOutputsOffset);
  for (uint32_t i = 0; i < outputs; ++i) {
    auto* output = new (&node->outputs_[i]) Output;
    output->node = node;
    output->index = i;
  }
  for (uint32_t i = 0; i < inputs; ++i) {
    new (&node->inputs()[i]) array;
  }
  return node;
}

void Node::detach() {
  const uint32_t count = std::exchange(input_count_, 0);
  for (uint32_t i = 0; i < count; ++i) {
    inputs()[i] = array();
  }
  primitive_.reset();
}

void Node::commit(uint32_t index, const BufferRef& buffer) {
  Output& out = outputs_[index];
  lock();
  if (out.refs.load(std::memory_order_acquire) > 0) {
    out.buffer = buffer;
  }
  unlock();
}

void Node::drop_output() {
  if (live_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    destroy(this);
  }
}

void Node::lock() {
  while (value_lock_.test_and_set(std::memory_order_acquire)) {
  }
}

void Node::unlock() {
  value_lock_.clear(std::memory_order_release);
}

void Output::release() {
  Node* owner = node;
  if (refs.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  if (owner->output_count_ > 1) {
    // The node may live on for its other outputs. This value is freed, unless somebody has made a
    // new handle.
    BufferRef dropped;
    owner->lock();
    if (refs.load(std::memory_order_acquire) == 0) {
      dropped = std::move(buffer);
    }
    owner->unlock();
  }
  owner->drop_output();
}

// Destroying a node releases its inputs, which may destroy their nodes, and so on. A queue does
// that without recursion, so chains may have any length. It takes no memory, because it must not
// fail.
void Node::destroy(Node* node) {
  thread_local bool destroying = false;
  thread_local Node* waiting = nullptr;
  if (destroying) {
    node->next_dead = std::exchange(waiting, node);
    return;
  }
  destroying = true;
  while (node) {
    node->forget_inputs_kept();
    if (node->pending_slot_.load(std::memory_order_relaxed) != kNotPending) {
      node->leave_pending(); // needs the edges
    }
    for (uint32_t i = 0; i < node->edges_capacity_; ++i) {
      node->inputs()[i].~array();
    }
    for (uint32_t i = 0; i < node->output_count_; ++i) {
      node->outputs_[i].~Output();
    }
    node->~Node();
    ::operator delete(node);
    node = waiting;
    waiting = node ? node->next_dead : nullptr;
  }
  destroying = false;
}

} // namespace narrows
