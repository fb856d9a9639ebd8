#include "narrows/backend/cuda/literals.h"

#include <cstring>
#include <mutex>
#include <vector>

#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/memory.h"
#include "narrows/backend/cuda/recent_cache.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

constexpr size_t kValuesKept = 4096;
// Values that are dropped may still be in use for a moment.
constexpr size_t kSlots = kValuesKept + 1024;
constexpr size_t kSlotBytes = 16; // the alignment that kernels may ask for

// The addresses of free slots.
struct FreeSlots {
  FreeSlots() {
    void* block = nullptr;
    check(cudaMalloc(&block, kSlots * kSlotBytes), "memory of numbers");
    for (size_t i = kSlots; i-- > 0;) {
      addresses.push_back(reinterpret_cast<std::uintptr_t>(block) + i * kSlotBytes);
    }
  }

  std::mutex mutex;
  std::vector<std::uintptr_t> addresses;
};
FreeSlots& free_slots() {
  static auto* slots = new FreeSlots; // never destroyed
  return *slots;
}

} // namespace

Slot::Slot(uint64_t value) {
  {
    FreeSlots& free = free_slots();
    std::lock_guard lock(free.mutex);
    if (free.addresses.empty()) {
      fail<std::runtime_error>("[cuda] more than ", kSlots, " numbers are in use at one time.");
    }
    place.address = free.addresses.back();
    free.addresses.pop_back();
  }
  place.block = reinterpret_cast<const void*>(place.address);
  write_number(place, &value, sizeof(value));
}

Slot::~Slot() {
  FreeSlots& free = free_slots();
  std::lock_guard lock(free.mutex);
  free.addresses.push_back(place.address); // cannot fail: room was reserved
}

std::shared_ptr<const Slot> slot_of(const Buffer& literal) {
  static auto* slots = new RecentCache<uint64_t, Slot>(kValuesKept); // never destroyed
  uint64_t value = 0;
  std::memcpy(&value, literal.memory, static_cast<size_t>(literal.bytes));
  return slots->get(value, [](uint64_t bits) { return std::make_shared<const Slot>(bits); });
}

} // namespace narrows::cuda
