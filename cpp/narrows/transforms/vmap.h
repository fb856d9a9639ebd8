// vmap: a function of one entry, applied to a batch of entries at once.
#pragma once

#include <optional>

#include "narrows/transforms/derivative.h"

namespace narrows {

// An output of a batched function.
struct Batched {
  array value;  // with the batch as its first dimension, if it is batched
  bool batched; // false: one value for all entries
};

// Applies the function to all entries of a batch. Entries lie along axis `axes[i]` of inputs[i];
// inputs without an axis are the same for all. ValueError if no input has an axis, an axis is out
// of range, or they differ in size.
struct BatchedOutputs {
  std::vector<Batched> outputs;
  int64_t size; // of the batch
};
BatchedOutputs vmap(
    const Function& function,
    const std::vector<array>& inputs,
    const std::vector<std::optional<int>>& axes);

// The output with the batch along `axis`, repeated if it is not batched; without an axis it must
// not be batched (ValueError).
array batch_along(const Batched& output, int64_t size, std::optional<int> axis);

} // namespace narrows
