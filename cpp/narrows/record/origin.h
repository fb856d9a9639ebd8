// Origins: the line of the user's program that recorded a node. They are kept on request only.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace narrows {

// Stands for a file and a line; 0: not known.
using Origin = uint32_t;

// Sets whether nodes that are recorded from now on remember their origin. NARROWS_TRACE_ORIGIN=1
// switches it on at the start. Returns the previous value.
bool set_trace_origin(bool on);

// The function that tells which line the calling thread is at. It must not throw. The Python module
// sets it.
void set_origin_source(Origin (*source)());

Origin origin_at(std::string_view file, int line);
std::string origin_text(Origin origin); // "train.py:12", or "" for 0

namespace detail {
extern std::atomic<bool> traces_origin;
Origin origin_of_caller();
} // namespace detail

// The origin of what this thread records now.
inline Origin current_origin() {
  return detail::traces_origin.load(std::memory_order_relaxed) ? detail::origin_of_caller() : 0;
}

// While it lives, what this thread records has this origin (0 changes nothing). It serves nodes
// that stand for another one, such as its derivatives, which are recorded far from that line.
class OriginScope {
 public:
  explicit OriginScope(Origin origin);
  ~OriginScope();
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

 private:
  Origin previous_;
};

// Within a catch block: throws the error again with " (recorded at train.py:12)" behind its
// message. It stays as it is if the origin is 0, if the message names a line already, or if it is
// no class of core/errors.h.
[[noreturn]] void rethrow_with_origin(Origin origin);

// Calls `work`. What it records has this origin, and its errors name the line.
template <typename Work>
auto with_origin(Origin origin, Work&& work) {
  const OriginScope scope(origin);
  try {
    return work();
  } catch (...) {
    rethrow_with_origin(origin);
  }
}

} // namespace narrows
