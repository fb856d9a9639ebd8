// How a batch of convolutions becomes one: its dimension goes into another one.
#pragma once

#include "narrows/core/kernel_families.h"
#include "narrows/ops/common.h"

namespace narrows {

class ConvolutionBatch {
 public:
  // A batch of `size` calls of `op`; the inputs that are batched have it in front.
  ConvolutionBatch(ConvolutionOp op, int groups, int64_t size, bool first, bool second);

  // The groups of the one call.
  int groups() const;
  // Input `i` of it.
  array folded(const array& input, size_t i, StreamOrDevice s) const;
  // What it gives, with the batch in front.
  array unfolded(const array& result, StreamOrDevice s) const;

 private:
  enum class Role : uint8_t { x, w, y };
  enum class Into : uint8_t { batch, y_channels, x_channels, groups };

  // Where the batch lies in an array: in its first or last dimension, behind so many groups.
  struct Place {
    int axis;
    int64_t groups;
  };
  Place place_in(Role role) const;

  Role roles_[3]; // of the inputs and the result
  bool batched_[2];
  Into into_;
  int groups_;
  int64_t size_;
};

} // namespace narrows
