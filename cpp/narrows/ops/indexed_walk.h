// How a gather or a scatter walks its arrays, as calls of kernels.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "metal_kernels/indexed.h"
#include "narrows/record/fields.h"
#include "narrows/record/primitive.h"

namespace narrows {

class Placement;

// Slices of an array that arrays of indices place. The array has `batch` dimensions in front that
// the arrays of indices have, too; `axes` and `sizes` count from behind them. The slices have these
// sizes, and begin along axes[k] where indices number k say.
struct Slices {
  Axes axes;
  Shape sizes;
  int batch = 0;
  bool clamp = false; // indices out of range: the nearest slice, or none

  static constexpr std::tuple fields{
      field("axes", &Slices::axes),
      field("slice_sizes", &Slices::sizes),
      hidden_field("batch", &Slices::batch),
      field("clamp", &Slices::clamp)};
};

// An axis along which an array of indices addresses another array of its shape.
struct IndexedAxis {
  int axis;
  bool clamp; // as above

  static constexpr std::tuple fields{
      field("axis", &IndexedAxis::axis), field("clamp", &IndexedAxis::clamp)};
};

// Whether kernels read indices of this dtype.
inline bool is_kernel_index(Dtype dtype) {
  return dtype == int32 || dtype == uint32 || dtype == int64;
}
// The kernel for an array of dtype `array`, and for an input that is that array or one of indices.
inline KernelId indexed_kernel(KernelFamily family, uint8_t op, Dtype array, Dtype input) {
  return {family, op, array, array, is_kernel_index(input) ? input : int32};
}

// What one call works on: the indexed array, the other one (results or updates) and the indices.
struct IndexedViews {
  const Shape* array_shape;
  const Strides* array_strides;
  const Strides* other_strides;
  const Shape* index_shape;
  std::vector<const Strides*> index_strides;
};

// Elements that a call begins after, in each operand.
struct IndexedOffsets {
  int64_t array = 0;
  int64_t other = 0;
  std::array<int64_t, NARROWS_MAX_INDICES> indices{};
};

class IndexedWalk {
 public:
  // The other array has the dimensions of the arrays of indices, then those of the slices.
  IndexedWalk(KernelFamily family, const IndexedViews& views, const Slices& slices);
  // All have the same shape but for the indexed array along the axis.
  IndexedWalk(KernelFamily family, const IndexedViews& views, const IndexedAxis& along);

  using Call = std::function<void(const IndexedParams&, const IndexedOffsets&)>;
  // One call; more where there are more dimensions than kernels walk.
  void each_call(const Call& call) const;

 private:
  // A scatter's dimensions are in this order; a gather's are in that of its result.
  enum class Kind : uint8_t { line, position, column };
  struct Dimension {
    Kind kind;
    int64_t size;
    int64_t array_stride;
    int64_t other_stride;
    int64_t row_pitch;
    std::array<int64_t, NARROWS_MAX_INDICES> index_strides;
  };

  // Along dimension `d` of the arrays of indices; positions, unless the array has it, too.
  void add_index_dimension(
      const IndexedViews& views, size_t d, bool is_position, int64_t array_stride);
  void order();
  void merge();
  void call_from(size_t first, IndexedOffsets offsets, const Call& call) const;

  IndexedParams params_{}; // without dimensions
  std::vector<Dimension> dimensions_;
};

// The kernel's scratch, as much as the largest call wants.
void place_scratch(Placement& placement, const KernelId& kernel, const IndexedWalk& walk);

// Runs the kernel: of `gather` the array is read, else it is written; then `other` is read.
void encode_walk(
    Encoder& encoder,
    const KernelId& kernel,
    const IndexedWalk& walk,
    const ArrayView& array,
    const ArrayView& other,
    std::span<const ArrayView> indices,
    Operand scratch);

} // namespace narrows
