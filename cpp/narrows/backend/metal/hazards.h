// Hazards: the buffers that dispatches since the last barrier use, to decide whether another one
// may run beside them.
#pragma once

#include <span>
#include <unordered_map>

#include "narrows/runtime/backend.h"

namespace narrows::metal {

class Hazards {
 public:
  // Adds a dispatch, whose last operand is written. Returns true if it has to wait for earlier
  // ones, because it reads what one of them writes, or writes what one of them uses. It is then the
  // first dispatch behind a barrier.
  bool add(std::span<const Operand> operands) {
    const bool conflict = conflicts(operands);
    if (conflict) {
      written_.clear();
    }
    for (const Operand& operand : operands) {
      written_[operand.buffer] |= &operand == &operands.back();
    }
    return conflict;
  }
  void clear() {
    written_.clear();
  }

 private:
  bool conflicts(std::span<const Operand> operands) const {
    for (const Operand& operand : operands) {
      const auto found = written_.find(operand.buffer);
      if (found != written_.end() && (found->second || &operand == &operands.back())) {
        return true;
      }
    }
    return false;
  }

  std::unordered_map<const Buffer*, bool> written_; // by the buffers in use
};

} // namespace narrows::metal
