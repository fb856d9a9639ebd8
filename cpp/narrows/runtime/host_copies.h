// HostCopies: what a device offers for copies of its values to the host and back.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows {

// Implemented by backends that copy beside their other work, or whose copies need memory of their
// own on the host.
class HostCopies {
 public:
  virtual ~HostCopies() = default;
  // Memory of the host that copies are fast to and from. It has no more than host_copy_limit().
  virtual MemorySource& host_memory() = 0;
  // Copies bytes of the device's memory to the host's, or back. A copy comes behind all work that
  // was encoded before, and before encoded work that needs its end: work that reads what is copied
  // from the host, and that writes to what is copied.
  virtual void copy_to_host(Operand from, Operand to, int64_t bytes) = 0;
  virtual void copy_from_host(Operand from, Operand to, int64_t bytes) = 0;
};

// nullptr where the backend has nothing of the kind.
inline HostCopies* host_copies_of(Backend& backend) {
  return dynamic_cast<HostCopies*>(&backend);
}

// The bytes of the host that copies of values may take, as copies that keep a budget do. At first
// NARROWS_OFFLOAD_LIMIT, or half of the machine's memory.
int64_t host_copy_limit();
// Returns the previous limit. ValueError if bytes < 0.
int64_t set_host_copy_limit(int64_t bytes);

} // namespace narrows
