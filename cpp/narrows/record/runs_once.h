// RunsOnce: what a primitive derives from whose steps must not run a second time in one evaluation.
#pragma once

#include "narrows/record/primitive.h"

namespace narrows {

// Most primitives compute the same of the same inputs, however often they run, and so do random
// ones, whose keys are inputs. One that does not, or that has an effect besides its outputs,
// derives from this, too: where memory is short, plans run others again rather than keep their
// values.
class RunsOnce {
 protected:
  ~RunsOnce() = default;
  virtual void mark_runs_once() const {
  }
};

inline bool runs_once(const Primitive& primitive) {
  return dynamic_cast<const RunsOnce*>(&primitive) != nullptr;
}

} // namespace narrows
