// Hazards: the buffers that dispatches since the last barrier use, to decide whether another one
// may run beside them.
#pragma once

#include <span>
#include <unordered_map>

#include "narrows/runtime/backend.h"

namespace narrows::metal {

class Hazards {
 public:
  // Adds a dispatch, whose last operands are written. Returns true if it has to wait for earlier
  // ones, because it reads what one of them writes, or writes what one of them uses. It is then the
  // first dispatch behind a barrier.
  bool add(std::span<const Operand> operands, size_t written) {
    const size_t first_written = operands.size() - written;
    const bool conflict = conflicts(operands, first_written);
    if (conflict) {
      written_.clear();
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      written_[operands[i].buffer] |= i >= first_written;
    }
    return conflict;
  }
  void clear() {
    written_.clear();
  }

 private:
  bool conflicts(std::span<const Operand> operands, size_t first_written) const {
    for (size_t i = 0; i < operands.size(); ++i) {
      const auto found = written_.find(operands[i].buffer);
      if (found != written_.end() && (found->second || i >= first_written)) {
        return true;
      }
    }
    return false;
  }

  std::unordered_map<const Buffer*, bool> written_; // by the buffers in use
};

} // namespace narrows::metal
