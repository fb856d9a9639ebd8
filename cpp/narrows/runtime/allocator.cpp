#include "narrows/runtime/allocator.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "narrows/core/errors.h"
#include "narrows/runtime/literal.h"
#include "narrows/runtime/parallel.h"
#include "narrows/runtime/strict_limit.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace narrows {
namespace {

// AddressSanitizer sees blocks in the cache as freed memory, and so the bytes behind those that
// were asked for.
void note_accessible([[maybe_unused]] const Buffer& buffer, [[maybe_unused]] int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  if (buffer.source->host_visible()) {
    ASAN_POISON_MEMORY_REGION(buffer.memory, static_cast<size_t>(buffer.capacity));
    ASAN_UNPOISON_MEMORY_REGION(buffer.memory, static_cast<size_t>(bytes));
  }
#endif
}

// A doubly linked list through Buffer::previous and Buffer::next.
class BufferList {
 public:
  BufferList() {
    head_.next = head_.previous = &head_;
  }
  void push_front(Buffer* buffer) {
    buffer->previous = &head_;
    buffer->next = head_.next;
    head_.next->previous = buffer;
    head_.next = buffer;
  }
  static void remove(Buffer* buffer) {
    buffer->previous->next = buffer->next;
    buffer->next->previous = buffer->previous;
  }
  Buffer* oldest() {
    return head_.previous == &head_ ? nullptr : head_.previous;
  }
  template <typename F>
  void for_each(F&& f) {
    for (Buffer* b = head_.next; b != &head_; b = b->next) {
      f(*b);
    }
  }

 private:
  Buffer head_;
};

// Cached blocks by source and capacity. Of blocks of one size, the one with the lowest address
// comes first. So a plan that runs again gets the same blocks for the same steps, whatever order
// they came back in.
struct CacheOrder {
  using Key = std::tuple<MemorySource*, int64_t, void*>;
  using is_transparent = void;

  static Key key_of(const Buffer* buffer) {
    return {buffer->source, buffer->capacity, buffer->memory};
  }
  bool operator()(const Buffer* a, const Buffer* b) const {
    return key_of(a) < key_of(b);
  }
  bool operator()(const Buffer* a, const Key& b) const {
    return key_of(a) < b;
  }
};

// A buffer and its node in the cache's map. The node is allocated with the buffer, because
// returning a buffer must not fail.
using Cache = std::set<Buffer*, CacheOrder>;
struct CachedBuffer : Buffer {
  Cache::node_type place; // empty while the buffer is in the cache
};

CachedBuffer& cached_buffer(Buffer* buffer) {
  return static_cast<CachedBuffer&>(*buffer);
}

// Which allocations fail on purpose.
struct Faults {
  int64_t period = 0; // 0: none
  int64_t until_next = 0;
  int64_t count = 0;

  Faults() {
    if (const char* text = std::getenv("NARROWS_FAIL_ALLOCATION_EVERY")) {
      start(std::max(0LL, std::atoll(text)));
    }
  }
  void start(int64_t new_period) {
    period = until_next = new_period;
  }
  // Whether this allocation shall fail.
  bool hit() {
    if (period == 0 || --until_next > 0) {
      return false;
    }
    until_next = period;
    ++count;
    return true;
  }
};

} // namespace

// The counts and the limits of one memory.
struct MemoryAccount {
  explicit MemoryAccount(int64_t capacity)
      : cache_limit(capacity / 4), memory_limit(capacity / 100 * 95) {
  }

  int64_t active = 0;
  int64_t peak = 0;
  int64_t cached = 0;
  int64_t cache_limit;
  int64_t memory_limit;
  bool strict = false;
  BufferList live;
  int64_t live_count = 0;
  BufferList recent; // cached buffers, latest first
};

namespace {

class Allocator {
 public:
  BufferRef allocate(MemorySource& source, int64_t bytes, const char* label);
  void release(Buffer* buffer);
  void clear_cache();
  int64_t set_cache_limit(MemorySource& source, int64_t limit);
  int64_t set_memory_limit(MemorySource& source, int64_t limit, bool strict);
  std::optional<int64_t> strict_limit(MemorySource& source) {
    std::lock_guard lock(mutex);
    const MemoryAccount& account = account_of(source);
    return account.strict ? std::optional(account.memory_limit) : std::nullopt;
  }
  int64_t set_faults(int64_t period);
  void reset_peak(MemorySource& source);

  // The index of the account of the source's memory.
  int64_t count(MemorySource& source, int64_t MemoryAccount::*number) {
    std::lock_guard lock(mutex);
    return account_of(source).*number;
  }
  int64_t fault_count() {
    std::lock_guard lock(mutex);
    return faults_.count;
  }

  std::atomic<void (*)()> wait_for_work{nullptr};
  std::mutex mutex;

 private:
  MemoryAccount& account_of(MemorySource& source);
  Buffer* take_cached(MemorySource& source, int64_t bytes);
  void shrink_cache(MemoryAccount& account, int64_t target);
  void drop(Buffer* cached_buffer);
  Buffer* try_allocate(MemorySource& source, int64_t bytes, bool fault);
  [[noreturn]] void raise(MemorySource& source, int64_t bytes, const char* label);
  void enter(Buffer* buffer, int64_t bytes, const char* label);

  std::deque<MemoryAccount> accounts_; // the host's first
  Cache cache_;
  Faults faults_;
};

// Never destroyed: arrays in other static objects may outlive it.
Allocator& allocator() {
  static Allocator* instance = new Allocator;
  return *instance;
}

// A block may be reused for a request this much smaller; the slack counts as cache.
int64_t largest_reusable(int64_t bytes) {
  return bytes < (int64_t{1} << 16) ? bytes : bytes + bytes / 4;
}

// All memory that the host can address counts as one.
MemoryAccount& Allocator::account_of(MemorySource& source) {
  if (!source.account) {
    if (accounts_.empty()) {
      accounts_.emplace_back(machine_memory());
    }
    source.account =
        source.host_visible() ? &accounts_.front() : &accounts_.emplace_back(source.capacity());
  }
  return *source.account;
}

Buffer* Allocator::take_cached(MemorySource& source, int64_t bytes) {
  const auto found = cache_.lower_bound(CacheOrder::Key{&source, bytes, nullptr});
  if (found == cache_.end() || (*found)->source != &source ||
      (*found)->capacity > largest_reusable(bytes)) {
    return nullptr;
  }
  Buffer* buffer = *found;
  cached_buffer(buffer).place = cache_.extract(found);
  BufferList::remove(buffer);
  source.account->cached -= buffer->capacity;
  return buffer;
}

void Allocator::drop(Buffer* buffer) {
  cache_.erase(buffer);
  BufferList::remove(buffer);
  buffer->source->account->cached -= buffer->capacity;
  note_accessible(*buffer, buffer->capacity);
  buffer->source->release(buffer->memory, buffer->capacity);
  delete &cached_buffer(buffer);
}

void Allocator::shrink_cache(MemoryAccount& account, int64_t target) {
  while (account.cached > target) {
    Buffer* oldest = account.recent.oldest();
    if (!oldest) {
      return; // the rest is slack of live blocks
    }
    drop(oldest);
  }
}

Buffer* Allocator::try_allocate(MemorySource& source, int64_t bytes, bool fault) {
  MemoryAccount& account = *source.account;
  if (fault) {
    shrink_cache(account, 0);
    return nullptr;
  }
  if (Buffer* buffer = take_cached(source, bytes)) {
    return buffer;
  }
  if (account.active + account.cached + bytes > account.memory_limit) {
    shrink_cache(account, std::max<int64_t>(0, account.memory_limit - account.active - bytes));
  }
  auto buffer = std::make_unique<CachedBuffer>();
  buffer->capacity = bytes;
  buffer->source = &source;
  buffer->place = cache_.extract(cache_.insert(buffer.get()).first);
  buffer->memory = source.allocate(bytes);
  if (!buffer->memory) {
    shrink_cache(account, 0);
    buffer->memory = source.allocate(bytes);
  }
  return buffer->memory ? buffer.release() : nullptr;
}

void Allocator::enter(Buffer* buffer, int64_t bytes, const char* label) {
  MemoryAccount& account = *buffer->source->account;
  buffer->bytes = bytes;
  buffer->label = label;
  account.cached += buffer->capacity - bytes;
  account.live.push_front(buffer);
  ++account.live_count;
  account.active += bytes;
  account.peak = std::max(account.peak, account.active);
}

BufferRef Allocator::allocate(MemorySource& source, int64_t bytes, const char* label) {
  const int64_t asked = bytes;
  bytes = rounded_bytes(bytes);
  if (bytes == 0) {
    return narrows::borrow(nullptr, 0, {});
  }
  std::unique_lock lock(mutex);
  const bool fault = faults_.hit();
  const MemoryAccount& account = account_of(source);
  Buffer* buffer = nullptr;
  for (bool waited : {false, true}) {
    const int64_t after = account.active + bytes;
    const bool over =
        after > source.capacity() || ((account.strict || !waited) && after > account.memory_limit);
    if (!over && (buffer = try_allocate(source, bytes, fault))) {
      enter(buffer, bytes, label);
      note_accessible(*buffer, asked);
      return BufferRef(buffer);
    }
    if (auto wait = wait_for_work.load(); wait && !waited) {
      lock.unlock();
      wait();
      lock.lock();
    }
  }
  raise(source, bytes, label);
}

void Allocator::raise(MemorySource& source, int64_t bytes, const char* label) {
  MemoryAccount& account = *source.account;
  std::vector<const Buffer*> holders;
  account.live.for_each([&](const Buffer& buffer) { holders.push_back(&buffer); });
  const size_t shown = std::min<size_t>(3, holders.size());
  std::partial_sort(
      holders.begin(),
      holders.begin() + shown,
      holders.end(),
      [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  const int64_t limit =
      account.strict ? std::min(account.memory_limit, source.capacity()) : source.capacity();
  std::string message = concat_message(
      "[",
      label,
      "] cannot allocate ",
      bytes,
      " bytes: ",
      account.active,
      " are in use and the ",
      account.strict ? "limit" : "machine's limit",
      " is ",
      limit,
      ".");
  if (shown) {
    message += " Largest holders:";
    for (size_t i = 0; i < shown; ++i) {
      message += concat_message(i ? ", " : " ", holders[i]->bytes, " bytes by ", holders[i]->label);
    }
    message += ".";
  }
  throw MemoryError(std::move(message));
}

void Allocator::release(Buffer* buffer) {
  std::lock_guard lock(mutex);
  MemoryAccount& account = *buffer->source->account;
  note_accessible(*buffer, 0);
  BufferList::remove(buffer);
  --account.live_count;
  account.active -= buffer->bytes;
  account.cached += buffer->bytes; // the slack is counted already
  account.recent.push_front(buffer);
  cache_.insert(std::move(cached_buffer(buffer).place));
  shrink_cache(account, account.cache_limit);
}

void Allocator::clear_cache() {
  std::lock_guard lock(mutex);
  for (MemoryAccount& account : accounts_) {
    shrink_cache(account, 0);
  }
}

int64_t Allocator::set_cache_limit(MemorySource& source, int64_t limit) {
  if (limit < 0) {
    fail<ValueError>("[set_cache_limit] limit ", limit, " is negative, expected bytes >= 0.");
  }
  std::lock_guard lock(mutex);
  MemoryAccount& account = account_of(source);
  const int64_t previous = std::exchange(account.cache_limit, limit);
  shrink_cache(account, limit);
  return previous;
}

int64_t Allocator::set_memory_limit(MemorySource& source, int64_t limit, bool strict) {
  if (limit < 0) {
    fail<ValueError>("[set_memory_limit] limit ", limit, " is negative, expected bytes >= 0.");
  }
  std::lock_guard lock(mutex);
  MemoryAccount& account = account_of(source);
  account.strict = strict;
  return std::exchange(account.memory_limit, limit);
}

int64_t Allocator::set_faults(int64_t period) {
  if (period < 0) {
    fail<ValueError>(
        "[set_allocation_faults] period ", period, " is negative, expected an integer >= 0.");
  }
  std::lock_guard lock(mutex);
  const int64_t previous = faults_.period;
  faults_.start(period);
  return previous;
}

void Allocator::reset_peak(MemorySource& source) {
  std::lock_guard lock(mutex);
  MemoryAccount& account = account_of(source);
  account.peak = account.active;
}

// The memory limit of this process's control group, or "no limit".
int64_t control_group_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    int64_t bytes;
    if (file >> bytes && bytes > 0) {
      return bytes;
    }
  }
  return INT64_MAX;
}

} // namespace

int64_t machine_memory() {
  static const int64_t bytes = std::min(
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE),
      control_group_limit());
  return bytes;
}

void MemorySource::read(const void* from, void* to, int64_t bytes) {
  copy_bytes(from, to, bytes);
}

void MemorySource::write(const void* from, void* to, int64_t bytes) {
  copy_bytes(from, to, bytes);
}

void release_buffer(Buffer* buffer) {
  if (buffer->source) {
    allocator().release(buffer);
    return;
  }
  if (buffer->is_literal) {
    delete static_cast<Literal*>(buffer);
    return;
  }
  if (buffer->release_owner) {
    buffer->release_owner();
  }
  delete buffer;
}

BufferRef allocate(MemorySource& source, int64_t bytes, const char* label) {
  return allocator().allocate(source, bytes, label);
}

BufferRef borrow(void* memory, int64_t bytes, std::function<void()> release_owner) {
  auto* buffer = new Buffer;
  buffer->memory = memory;
  buffer->bytes = buffer->capacity = bytes;
  buffer->release_owner = std::move(release_owner);
  return BufferRef(buffer);
}

std::mutex& allocator_mutex() {
  return allocator().mutex;
}

int64_t get_active_memory() {
  return get_active_memory(default_memory());
}

int64_t get_active_memory(MemorySource& source) {
  return allocator().count(source, &MemoryAccount::active);
}

int64_t get_peak_memory() {
  return get_peak_memory(default_memory());
}

int64_t get_peak_memory(MemorySource& source) {
  return allocator().count(source, &MemoryAccount::peak);
}

int64_t get_live_buffers() {
  return allocator().count(default_memory(), &MemoryAccount::live_count);
}

void reset_peak_memory() {
  reset_peak_memory(default_memory());
}

void reset_peak_memory(MemorySource& source) {
  allocator().reset_peak(source);
}

int64_t get_cache_memory() {
  return allocator().count(default_memory(), &MemoryAccount::cached);
}

int64_t set_cache_limit(int64_t limit) {
  return allocator().set_cache_limit(default_memory(), limit);
}

void clear_cache() {
  allocator().clear_cache();
}

int64_t set_memory_limit(int64_t limit, bool strict) {
  return allocator().set_memory_limit(default_memory(), limit, strict);
}

std::optional<int64_t> strict_limit(MemorySource& source) {
  return allocator().strict_limit(source);
}

int64_t get_memory_limit() {
  return allocator().count(default_memory(), &MemoryAccount::memory_limit);
}

int64_t set_allocation_faults(int64_t period) {
  return allocator().set_faults(period);
}

int64_t allocation_faults() {
  return allocator().fault_count();
}

void set_wait_for_work(void (*wait)()) {
  allocator().wait_for_work = wait;
}

} // namespace narrows
