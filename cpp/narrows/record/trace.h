// Traces: while a function is recorded to be transformed, the graph behind its arrays is kept.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "narrows/record/array.h"
#include "narrows/record/pending.h"

namespace narrows {

// Every trace has a number larger than all earlier ones, and belongs to the family of the outermost
// trace of its thread. A node belongs to the innermost trace of the thread that records it. What a
// function records while trace t is on belongs to t or to a later trace inside of it, of the same
// family; what was there before, or what other threads record, does not.
struct Trace {
  uint64_t number = 0; // 0: none
  uint32_t family = 0; // in 32 bits: two families alike keep inputs for longer than they need to

  // Whether the node was recorded in this trace or inside of it.
  bool has(const Node& node) const {
    return node.family == family && node.trace >= number;
  }
};
Trace current_trace();

// The families of traces whose functions are being recorded, or whose rules are being applied, on
// whichever thread: an evaluation must leave their nodes their inputs.
class LiveFamilies {
 public:
  void find();
  void clear() {
    families_.clear();
  }
  bool has(const Node& node) const {
    return !families_.empty() && node.family != 0 &&
           std::find(families_.begin(), families_.end(), node.family) != families_.end();
  }

 private:
  std::vector<uint32_t> families_;
};

// Whether this thread records a function that is meant for arguments of other shapes, too: what
// depends on a shape must then be an operation, not a constant.
bool shapes_vary();

// While it lives, the nodes of traces of this thread keep their inputs when they are evaluated:
// from before a function is recorded until the rules have been applied to it. In the end those that
// have got their value let go of them, wherever they are held. The outermost one is a family.
class TraceFamily {
 public:
  TraceFamily();
  ~TraceFamily();
  TraceFamily(const TraceFamily&) = delete;
  TraceFamily& operator=(const TraceFamily&) = delete;

 private:
  const AutoEvalPause pause_;
  bool is_outermost_;
};

// While it lives, this thread records a function.
class TraceScope {
 public:
  explicit TraceScope(bool shapes_vary = false);
  ~TraceScope();
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

  Trace trace() const {
    return trace_;
  }

 private:
  const TraceFamily family_;
  Trace trace_;
  Trace enclosing_;
  bool enclosing_shapes_vary_;
};

// An argument without a value, of which only shape and dtype are known. To evaluate what depends on
// it raises ValueError.
array placeholder(const Shape& shape, Dtype dtype);

// The outputs of a node as handles.
std::vector<array> outputs_of(Node& node);

// The nodes of a trace and of traces inside of it behind `outputs`, inputs first.
std::vector<Node*> traced_nodes(std::span<const array> outputs, Trace trace);

} // namespace narrows
