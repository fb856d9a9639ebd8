// Traces: while a function is recorded to be transformed, the graph behind its arrays is kept.
#pragma once

#include <cstdint>
#include <vector>

#include "narrows/record/array.h"
#include "narrows/record/pending.h"

namespace narrows {

// Every trace has a number larger than all earlier ones. A node belongs to the innermost trace of
// the thread that records it. What a function records while trace t is on belongs to t or to a
// later trace inside of it, what was there before to an earlier one or to none.
uint64_t current_trace();

// The outermost trace of this thread, or UINT64_MAX: nodes of this and later traces are in the
// making, so that an evaluation must leave them their inputs.
uint64_t outermost_trace();

// Whether this thread records a function that is meant for arguments of other shapes, too: what
// depends on a shape must then be an operation, not a constant.
bool shapes_vary();

// While it lives, this thread records a function.
class TraceScope {
 public:
  explicit TraceScope(bool shapes_vary = false);
  ~TraceScope();
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

  uint64_t id() const {
    return id_;
  }

 private:
  const AutoEvalPause pause_;
  uint64_t id_;
  uint64_t enclosing_;
  bool enclosing_shapes_vary_;
};

// While it lives, rules are applied to the nodes of a finished trace: this thread's evaluations
// leave these their inputs. In the end those that have got their value let go of them.
class AppliedTrace {
 public:
  // `nodes`: those of trace `id`, for as long as this lives.
  AppliedTrace(uint64_t id, const std::vector<Node*>& nodes);
  ~AppliedTrace();
  AppliedTrace(const AppliedTrace&) = delete;
  AppliedTrace& operator=(const AppliedTrace&) = delete;

 private:
  const AutoEvalPause pause_;
  const std::vector<Node*>& nodes_;
  uint64_t id_;
};

// What the function that is traced gets as argument in place of `a`: the same value, but a node of
// its own, which derivatives are taken with respect to.
array traced_argument(const array& a);

// An argument without a value, of which only shape and dtype are known. To evaluate what depends on
// it raises ValueError.
array placeholder(const Shape& shape, Dtype dtype);

// The outputs of a node as handles.
std::vector<array> outputs_of(Node& node);

// The nodes of trace `id` and of traces inside of it behind `outputs`, inputs first.
std::vector<Node*> traced_nodes(std::span<const array> outputs, uint64_t id);

} // namespace narrows
