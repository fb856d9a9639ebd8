#include "narrows/order/repeats.h"

#include "narrows/plan/host_copy.h"
#include "narrows/record/array.h"
#include "narrows/record/origin.h"
#include "narrows/record/primitive.h"

namespace narrows {
namespace {

// Without edges.
Node* copy_of(Node& original) {
  const OriginScope scope(original.origin());
  Node* copy = Node::create(
      original.primitive_ref(), original.stream(), original.input_count(), original.output_count());
  copy->set_asked_stream(original.asked_stream());
  copy->trace = original.trace;
  copy->family = original.family;
  for (uint32_t i = 0; i < original.output_count(); ++i) {
    copy->output(i).dtype = original.output(i).dtype;
    copy->output(i).shape = original.output(i).shape;
  }
  return copy;
}

// A node that copies a value, to the host or back.
Node* host_copy_of(const Node& original, const Output& read, bool to_host) {
  const OriginScope scope(original.origin());
  Node* copy =
      Node::create(to_host ? to_host_primitive() : from_host_primitive(), original.stream(), 1, 1);
  copy->set_asked_stream(original.asked_stream());
  copy->trace = original.trace;
  copy->family = original.family;
  copy->output(0).dtype = read.dtype;
  copy->output(0).shape = read.shape;
  return copy;
}

} // namespace

Repeats& Repeats::operator=(Repeats&& other) noexcept {
  undo();
  changed_ = std::exchange(other.changed_, {});
  copies_ = std::exchange(other.copies_, {});
  extra = other.extra;
  total = other.total;
  return *this;
}

void Repeats::apply(const Tape& nodes, const Order& order, Tape& tape) {
  undo();
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    nodes[i]->pending = i;
  }
  std::vector<Node*> latest(nodes.size(), nullptr); // runs up to now
  std::vector<array> handles;                       // on copies, until their readers have edges
  tape.clear();
  tape.reserve(order.size());
  std::vector<Node*> on_host(nodes.size(), nullptr);
  for (const uint32_t entry : order) {
    const uint32_t number = entry & kNodeOfEntry;
    Node& original = *nodes[number];
    if (entry != number) {
      const bool to_host = (entry & kToHost) != 0;
      Output& read = (to_host ? latest : on_host)[number]->output(0);
      Node* node = host_copy_of(original, read, to_host);
      handles.emplace_back(node, 0);
      copies_.push_back({node, &original, false});
      node->pending = number;
      node->inputs()[0] = array(&read);
      (to_host ? on_host : latest)[number] = node;
      tape.push_back(node);
      continue;
    }
    Node* node = &original;
    if (latest[number]) {
      node = copy_of(original);
      handles.emplace_back(node, 0);
      copies_.push_back({node, &original});
      node->pending = number;
    }
    for (uint32_t i = 0; i < original.input_count(); ++i) {
      Output* read = original.inputs()[i].output();
      if (read->node->status() == Status::lazy) {
        read = &latest[read->node->pending]->output(read->index);
      }
      if (node == &original && read != original.inputs()[i].output()) {
        changed_.push_back({node, i, original.inputs()[i].output()});
      }
      node->inputs()[i] = array(read);
    }
    latest[number] = node;
    tape.push_back(node);
  }
}

// Originals may be read by copies alone: they are held until all edges are as they were.
void Repeats::undo() {
  for (const Edge& edge : changed_) {
    edge.original->retain();
  }
  for (const Edge& edge : changed_) {
    edge.reader->inputs()[edge.input] = array(edge.original);
  }
  for (const Edge& edge : changed_) {
    edge.original->release();
  }
  changed_.clear();
  copies_.clear();
}

std::vector<array> Repeats::undo_and_release() {
  std::vector<array> handles;
  handles.reserve(copies_.size());
  for (const Copy& copy : copies_) {
    handles.emplace_back(copy.node, 0);
  }
  undo();
  for (const array& handle : handles) {
    handle.node()->detach();
  }
  return handles;
}

} // namespace narrows
