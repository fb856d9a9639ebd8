// Traces: while a function is recorded for a transformation, the graph behind its arrays is kept.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include "narrows/record/array.h"
#include "narrows/record/pending.h"

namespace narrows {

// Every trace has a number larger than those of all earlier traces. It belongs to the family of the
// outermost trace of its thread. A node belongs to the innermost trace of the thread that records
// it. So all that a function records during trace t belongs to t, or to a later trace of the same
// family inside of it. Nodes from before, and nodes of other threads, do not.
struct Trace {
  uint64_t number = 0; // 0: none
  uint32_t family = 0; // 32 bits are enough: two families with one number keep inputs longer than
                       // necessary, no more

  // Whether the node was recorded in this trace or inside of it.
  bool has(const Node& node) const {
    return node.family == family && node.trace >= number;
  }
};
Trace current_trace();

// The families, of all threads, whose functions are being recorded or whose rules are being
// applied. An evaluation must leave their nodes their inputs.
class LiveFamilies {
 public:
  void find();
  void clear() {
    families_.clear();
  }
  bool empty() const {
    return families_.empty();
  }
  bool has(const Node& node) const {
    return !families_.empty() && node.family != 0 &&
           std::find(families_.begin(), families_.end(), node.family) != families_.end();
  }

 private:
  std::vector<uint32_t> families_;
};

// Whether this thread records a function for arguments of other shapes, too. Values that depend on
// a shape must then be operations, not constants.
bool shapes_vary();

// For hold_over_fork(). Taken under graph_mutex().
std::mutex& trace_families_mutex();

// While it lives, the nodes of traces of this thread keep their inputs when they are evaluated. It
// lives from before a function is recorded until the rules have been applied to it. At its end,
// nodes that have their value release their inputs, wherever they are held. The outermost one is a
// family.
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

// An argument without a value: only its shape and dtype are known. Evaluating what depends on it
// raises ValueError.
array placeholder(const Shape& shape, Dtype dtype);

// Handles on the outputs of a node.
std::vector<array> outputs_of(Node& node);

// The nodes behind `outputs` that belong to a trace, or to traces inside of it; inputs come first.
std::vector<Node*> traced_nodes(std::span<const array> outputs, Trace trace);

} // namespace narrows
