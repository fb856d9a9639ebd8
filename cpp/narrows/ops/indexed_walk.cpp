#include "narrows/ops/indexed_walk.h"

#include <algorithm>

#include "narrows/core/kernel_families.h"
#include "narrows/plan/placement.h"

namespace narrows {

IndexedWalk::IndexedWalk(KernelFamily family, const IndexedViews& views, const Slices& slices) {
  const Shape& array_shape = *views.array_shape;
  const Strides& array_strides = *views.array_strides;
  const auto batch = static_cast<size_t>(slices.batch);
  params_.indices = static_cast<int32_t>(slices.axes.size());
  params_.clamp = slices.clamp ? 1 : 0;
  // The distance of neighbours along each axis, in rows; 0 along axes that no indices address.
  Shape pitches(slices.sizes.size(), 0);
  params_.rows = 1;
  for (size_t k = 0; k < slices.axes.size(); ++k) {
    const auto axis = static_cast<size_t>(slices.axes[k]);
    pitches[axis] = params_.pitches[k] = params_.rows;
    params_.sizes[k] = array_shape[batch + axis];
    params_.limits[k] = array_shape[batch + axis] - slices.sizes[axis];
    params_.steps[k] = array_strides[batch + axis];
    params_.rows *= array_shape[batch + axis];
  }
  const size_t index_dims = views.index_shape->size();
  for (size_t d = 0; d < index_dims; ++d) {
    const bool is_position = d >= batch;
    add_index_dimension(views, d, is_position, is_position ? 0 : array_strides[d]);
  }
  for (size_t axis = 0; axis < slices.sizes.size(); ++axis) {
    dimensions_.push_back(
        {pitches[axis] != 0 ? Kind::position : Kind::column,
         slices.sizes[axis],
         array_strides[batch + axis],
         (*views.other_strides)[index_dims + axis],
         pitches[axis],
         {}});
  }
  if (family == KernelFamily::scatter) {
    order();
  }
  merge();
}

IndexedWalk::IndexedWalk(KernelFamily family, const IndexedViews& views, const IndexedAxis& along) {
  const auto at = static_cast<size_t>(along.axis);
  params_.indices = 1;
  params_.clamp = along.clamp ? 1 : 0;
  params_.rows = params_.sizes[0] = (*views.array_shape)[at];
  params_.limits[0] = params_.rows - 1;
  params_.steps[0] = (*views.array_strides)[at];
  params_.pitches[0] = 1;
  for (size_t d = 0; d < views.index_shape->size(); ++d) {
    add_index_dimension(views, d, d == at, d == at ? 0 : (*views.array_strides)[d]);
  }
  if (family == KernelFamily::scatter) {
    order();
  }
  merge();
}

void IndexedWalk::add_index_dimension(
    const IndexedViews& views, size_t d, bool is_position, int64_t array_stride) {
  Dimension dimension{
      is_position ? Kind::position : Kind::column,
      (*views.index_shape)[d],
      array_stride,
      (*views.other_strides)[d],
      0,
      {}};
  for (size_t k = 0; k < views.index_strides.size(); ++k) {
    dimension.index_strides[k] = (*views.index_strides[k])[d];
    if (!is_position && dimension.index_strides[k] != 0) {
      dimension.kind = Kind::line;
    }
  }
  dimensions_.push_back(dimension);
}

void IndexedWalk::order() {
  std::stable_sort(dimensions_.begin(), dimensions_.end(), [](const auto& a, const auto& b) {
    return a.kind < b.kind;
  });
}

// Merges neighbouring dimensions that can be walked as one.
void IndexedWalk::merge() {
  std::erase_if(dimensions_, [](const Dimension& d) { return d.size == 1; });
  std::vector<Dimension> merged;
  for (const Dimension& inner : dimensions_) {
    const auto continues = [&](const Dimension& outer) {
      bool result = outer.kind == inner.kind &&
                    outer.array_stride == inner.array_stride * inner.size &&
                    outer.other_stride == inner.other_stride * inner.size &&
                    outer.row_pitch == inner.row_pitch * inner.size;
      for (size_t k = 0; k < inner.index_strides.size(); ++k) {
        result &= outer.index_strides[k] == inner.index_strides[k] * inner.size;
      }
      return result;
    };
    if (!merged.empty() && continues(merged.back())) {
      const int64_t size = merged.back().size;
      merged.back() = inner;
      merged.back().size *= size;
    } else {
      merged.push_back(inner);
    }
  }
  dimensions_ = std::move(merged);
}

void IndexedWalk::each_call(const Call& call) const {
  call_from(0, {}, call);
}

void IndexedWalk::call_from(size_t first, IndexedOffsets offsets, const Call& call) const {
  if (dimensions_.size() - first > NARROWS_MAX_DIMS) {
    const Dimension& d = dimensions_[first];
    for (int64_t i = 0; i < d.size; ++i) {
      call_from(first + 1, offsets, call);
      offsets.array += d.array_stride;
      offsets.other += d.other_stride;
      for (size_t k = 0; k < d.index_strides.size(); ++k) {
        offsets.indices[k] += d.index_strides[k];
      }
    }
    return;
  }
  IndexedParams params = params_;
  params.lines = params.positions = params.columns = 1;
  for (size_t i = first; i < dimensions_.size(); ++i) {
    const Dimension& d = dimensions_[i];
    const auto at = params.ndim++;
    params.line_dims += d.kind == Kind::line;
    params.position_dims += d.kind == Kind::position;
    (d.kind == Kind::line       ? params.lines
     : d.kind == Kind::position ? params.positions
                                : params.columns) *= d.size;
    params.shape[at] = d.size;
    params.array_strides[at] = d.array_stride;
    params.other_strides[at] = d.other_stride;
    params.row_pitches[at] = d.row_pitch;
    for (size_t k = 0; k < d.index_strides.size(); ++k) {
      params.index_strides[k][at] = d.index_strides[k];
    }
  }
  call(params, offsets);
}

void place_scratch(Placement& placement, const KernelId& kernel, const IndexedWalk& walk) {
  placement.workspace_for(kernel, [&](auto&& take) {
    walk.each_call([&](const IndexedParams& params, const IndexedOffsets&) { take(params); });
  });
}

void encode_walk(
    Encoder& encoder,
    const KernelId& kernel,
    const IndexedWalk& walk,
    const ArrayView& array,
    const ArrayView& other,
    std::span<const ArrayView> indices,
    Operand scratch) {
  const auto moved = [](const ArrayView& view, int64_t elements) {
    Operand operand = view.operand();
    operand.offset += elements * size_of(view.dtype);
    return operand;
  };
  const bool reads_array = kernel.family == KernelFamily::gather;
  walk.each_call([&](const IndexedParams& params, const IndexedOffsets& offsets) {
    std::array<Operand, NARROWS_MAX_INDICES + 2> operands;
    const Operand of_array = moved(array, offsets.array);
    const Operand of_other = moved(other, offsets.other);
    operands[0] = reads_array ? of_array : of_other;
    for (size_t k = 0; k < indices.size(); ++k) {
      operands[1 + k] = moved(indices[k], offsets.indices[k]);
    }
    operands[1 + indices.size()] = reads_array ? of_other : of_array;
    encoder.run({kernel, {operands.data(), indices.size() + 2}, params, scratch});
  });
}

} // namespace narrows
