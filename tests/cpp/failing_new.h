// Allocations of the C++ library that fail on purpose: those of small things, which the allocator
// of arrays does not see.
#pragma once

#include <cstdint>

namespace narrows {

// While it lives, the `nth` operator new of this thread from now on (from 1) raises std::bad_alloc.
class FailingNew {
 public:
  explicit FailingNew(int64_t nth);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  // Whether it has failed.
  bool has_failed() const;
};

// Calls attempt(nth) for nth = 1, 2, ... up to one in which no allocation failed. attempt() makes a
// FailingNew around what it tests, and returns has_failed().
template <typename F>
void fail_each_new(F&& attempt) {
  for (int64_t nth = 1; attempt(nth); ++nth) {
  }
}

} // namespace narrows
