// Allocations of the C++ library that fail on purpose. The arrays' allocator does not see them.
#pragma once

#include <cstdint>

namespace narrows {

// While it lives, the `nth` operator new of this thread (counted from 1) raises std::bad_alloc.
class FailingNew {
 public:
  explicit FailingNew(int64_t nth);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  // Whether it has failed.
  bool has_failed() const;
};

// Calls attempt(nth) for nth = 1, 2, ... until no allocation has failed. attempt() makes a
// FailingNew around the tested code, and returns has_failed().
template <typename F>
void fail_each_new(F&& attempt) {
  for (int64_t nth = 1; attempt(nth); ++nth) {
  }
}

} // namespace narrows
