// The one allocator: blocks of every backend's memory, cached for reuse and counted exactly.
#pragma once

#include <mutex>

#include "narrows/runtime/buffer.h"

namespace narrows {

// Bytes that an allocation of `bytes` counts as: rounded up to 64, or to 4096 from 64 KiB on.
// The planner predicts with the same rule.
constexpr int64_t rounded_bytes(int64_t bytes) {
  const int64_t unit = bytes < (int64_t{1} << 16) ? 64 : 4096;
  return (bytes + unit - 1) / unit * unit;
}

// A block of at least `bytes`. MemoryError if the source has no memory left even after the cache
// was freed and work in flight has ended, or if the block would pass a strict limit. Work that
// itself waits for other work is not waited for. Interruptible. `label` names the operation in
// errors. It must outlive the process's arrays (a string literal).
BufferRef allocate(MemorySource& source, int64_t bytes, const char* label);

// Memory that somebody else owns (a NumPy array, for example). `release_owner` is called once, when
// the last holder lets go. It is not counted.
BufferRef borrow(void* memory, int64_t bytes, std::function<void()> release_owner);

// Counts and limits exist for each memory. All sources that the host can address are one memory;
// every other source is its own. Functions without a source mean the memory of the default device.

// The memory of the default device's arrays.
MemorySource& default_memory();

// Bytes in buffers that somebody holds, and the highest value of that number.
int64_t get_active_memory();
int64_t get_active_memory(MemorySource& source);
int64_t get_peak_memory();
int64_t get_peak_memory(MemorySource& source);
void reset_peak_memory();
void reset_peak_memory(MemorySource& source);

// The number of these buffers.
int64_t get_live_buffers();

// Bytes kept for reuse: freed buffers, and the slack in blocks larger than their buffer.
int64_t get_cache_memory();
// Sets how many bytes are kept for reuse at most. Returns the previous limit. Default: a quarter of
// the memory.
int64_t set_cache_limit(int64_t limit);
// Frees the cached blocks of every memory.
void clear_cache();

// Above the limit, allocation frees the cache and waits for work in flight before it takes more
// (guideline), or raises MemoryError (strict). Returns the previous limit.
// Default: 95 % of the memory, as a guideline.
int64_t set_memory_limit(int64_t limit, bool strict = false);
int64_t get_memory_limit();

// For tests of failures: from now on every `period`-th allocation fails as if its source had no
// memory left (0: none does). Counting starts anew. Returns the previous period. The environment
// variable NARROWS_FAIL_ALLOCATION_EVERY sets it at the start of the process, else it is 0.
int64_t set_allocation_faults(int64_t period);

// How many allocations have failed on purpose.
int64_t allocation_faults();

// What allocate() calls before it gives up, so that work in flight returns its memory. It must not
// wait for a thread that waits for the caller.
void set_wait_for_work(void (*wait)());

// For hold_over_fork().
std::mutex& allocator_mutex();

// The memory that this process may use: the machine's, or its control group's if that is less.
int64_t machine_memory();

} // namespace narrows
