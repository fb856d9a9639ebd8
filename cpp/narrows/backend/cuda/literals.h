// Literals as operands: their values lie in slots of the device's memory.
#pragma once

#include <memory>

#include "narrows/backend/cuda/batch.h"
#include "narrows/runtime/buffer.h"

namespace narrows::cuda {

// A slot that contains a number. It stays as long as somebody holds it: until the work that reads
// it is collected.
struct Slot {
  explicit Slot(uint64_t value);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  Place place;
};

// The slot of a literal. The values used last stay on the device. Another value is written in order
// with the collected work.
std::shared_ptr<const Slot> slot_of(const Buffer& literal);

} // namespace narrows::cuda
