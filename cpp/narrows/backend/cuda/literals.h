// Literals as operands: their values in slots of the device's memory.
#pragma once

#include <memory>

#include "narrows/backend/cuda/batch.h"
#include "narrows/runtime/buffer.h"

namespace narrows::cuda {

// Where a number lies on the device. The slot keeps it for as long as somebody has it: until the
// work that reads it is collected.
struct Slot {
  explicit Slot(uint64_t value);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  Place place;
};

// The slot of a literal. The values used last stay on the device; another one is written, in order
// with the collected work.
std::shared_ptr<const Slot> slot_of(const Buffer& literal);

} // namespace narrows::cuda
