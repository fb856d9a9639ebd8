// Arguments of functions that are recorded for derivatives.
#pragma once

#include <atomic>
#include <memory>

#include "narrows/record/array.h"

namespace narrows {

class TracedArgument;

// Makes the arguments that a traced function gets: arrays of the same values with nodes of their
// own, so that derivatives can be taken with respect to them. These nodes end with this object. An
// argument that a function left somewhere then counts as the array that it was made of: if it is
// made an argument again, no chain of arguments grows.
class TracedArguments {
 public:
  TracedArguments();
  ~TracedArguments();
  TracedArguments(const TracedArguments&) = delete;
  TracedArguments& operator=(const TracedArguments&) = delete;

  // The arguments are computed only after the arrays of `after`.
  array add(const array& a, std::span<const array> after);

 private:
  std::shared_ptr<const TracedArgument> primitive_;
};

} // namespace narrows
