#include "narrows/ops/convolution_batch.h"

#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"

namespace narrows {

// What is not batched says where the batch fits. Weights that all entries share: the entries are
// one larger batch. One x for all: each has output channels of its own; one y: input channels. If
// nothing is shared, each has groups of its own.
ConvolutionBatch::ConvolutionBatch(
    ConvolutionOp op, int groups, int64_t size, bool first, bool second)
    : batched_{first, second}, groups_(groups), size_(size) {
  const bool forward = op == ConvolutionOp::forward;
  const bool to_input = op == ConvolutionOp::input_gradient;
  roles_[0] = to_input ? Role::y : Role::x;
  roles_[1] = forward || to_input ? Role::w : Role::y;
  roles_[2] = forward ? Role::y : to_input ? Role::x : Role::w;
  if (first && second) {
    into_ = Into::groups;
  } else {
    const Role shared = roles_[first ? 1 : 0];
    into_ = shared == Role::w   ? Into::batch
            : shared == Role::x ? Into::y_channels
                                : Into::x_channels;
  }
}

int ConvolutionBatch::groups() const {
  return into_ == Into::groups ? groups_ * static_cast<int>(size_) : groups_;
}

ConvolutionBatch::Place ConvolutionBatch::place_in(Role role) const {
  switch (into_) {
    case Into::batch:
      return {0, 1};
    case Into::y_channels: // of w and y
      return {role == Role::w ? 0 : -1, groups_};
    case Into::x_channels: // of x and w
      return {-1, role == Role::w ? 1 : groups_};
    default:
      return {role == Role::w ? 0 : -1, 1};
  }
}

array ConvolutionBatch::folded(const array& input, size_t i, StreamOrDevice s) const {
  if (!batched_[i]) {
    return input;
  }
  const Place place = place_in(roles_[i]);
  const int axis = place.axis < 0 ? input.ndim() - 1 : 1;
  const int64_t channels = input.shape(axis) / place.groups;
  const array in_groups = unflatten(input, axis, {place.groups, channels}, s);
  return flatten(moveaxis(in_groups, 0, axis, s), axis - 1, axis + 1, s);
}

array ConvolutionBatch::unfolded(const array& result, StreamOrDevice s) const {
  const Place place = place_in(roles_[2]);
  const int axis = place.axis < 0 ? result.ndim() - 1 : 0;
  const int64_t channels = result.shape(axis) / (place.groups * size_);
  const array apart = unflatten(result, axis, {place.groups, size_, channels}, s);
  return flatten(moveaxis(apart, axis + 1, 0, s), axis + 1, axis + 2, s);
}

} // namespace narrows
