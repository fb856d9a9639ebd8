// Arguments of functions that are recorded for derivatives.
#pragma once

#include <atomic>
#include <memory>

#include "narrows/record/array.h"

namespace narrows {

class TracedArgument;

// Makes what a traced function gets as arguments: the same values, but nodes of their own, which
// derivatives are taken with respect to. What this identifies ends with it. An argument that a
// function left somewhere is then no more than the array that it was made of: made an argument
// again, it does not come on top of itself, call after call.
class TracedArguments {
 public:
  TracedArguments();
  ~TracedArguments();
  TracedArguments(const TracedArguments&) = delete;
  TracedArguments& operator=(const TracedArguments&) = delete;

  // It is there only after the arrays of `after`.
  array add(const array& a, std::span<const array> after);

 private:
  std::shared_ptr<const TracedArgument> primitive_;
};

} // namespace narrows
