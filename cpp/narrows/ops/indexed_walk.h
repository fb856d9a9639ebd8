// IndexedWalk: how a gather or a scatter walks its arrays, as calls of kernels.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "metal_kernels/indexed.h"
#include "narrows/record/fields.h"
#include "narrows/record/primitive.h"

namespace narrows {

class Placement;

// Slices of an array whose places index arrays give. The array shares its first `batch` dimensions
// with the index arrays; `axes` and `sizes` count from behind them. The slices have these sizes and
// begin at indices number k along axes[k].
struct Slices {
  Axes axes;
  Shape sizes;
  int batch = 0;
  bool clamp = false; // indices out of range select the nearest slice, or none

  static constexpr std::tuple fields{
      field("axes", &Slices::axes),
      field("slice_sizes", &Slices::sizes),
      hidden_field("batch", &Slices::batch),
      field("clamp", &Slices::clamp)};
};

// An axis of an array that an index array of the same shape addresses.
struct IndexedAxis {
  int axis;
  bool clamp; // as above

  static constexpr std::tuple fields{
      field("axis", &IndexedAxis::axis), field("clamp", &IndexedAxis::clamp)};
};

// Whether kernels can read indices of this dtype.
inline bool is_kernel_index(Dtype dtype) {
  return dtype == int32 || dtype == uint32 || dtype == int64;
}
// The kernel for an array of dtype `array`, and for an input that is that array or an index array.
inline KernelId indexed_kernel(KernelFamily family, uint8_t op, Dtype array, Dtype input) {
  return {family, op, array, array, is_kernel_index(input) ? input : int32};
}

// The operands of a call: the indexed array, the other array (results or updates), and the indices.
struct IndexedViews {
  const Shape* array_shape;
  const Strides* array_strides;
  const Strides* other_strides;
  const Shape* index_shape;
  std::vector<const Strides*> index_strides;
};

// The first element of a call in each operand.
struct IndexedOffsets {
  int64_t array = 0;
  int64_t other = 0;
  std::array<int64_t, NARROWS_MAX_INDICES> indices{};
};

class IndexedWalk {
 public:
  // The other array has the dimensions of the index arrays, then those of the slices.
  IndexedWalk(KernelFamily family, const IndexedViews& views, const Slices& slices);
  // All arrays have one shape, except for the indexed array along the axis.
  IndexedWalk(KernelFamily family, const IndexedViews& views, const IndexedAxis& along);

  using Call = std::function<void(const IndexedParams&, const IndexedOffsets&)>;
  // Makes one call, or more if there are more dimensions than kernels walk.
  void each_call(const Call& call) const;

 private:
  // The order of a scatter's dimensions; a gather's are in the order of its result.
  enum class Kind : uint8_t { line, position, column };
  struct Dimension {
    Kind kind;
    int64_t size;
    int64_t array_stride;
    int64_t other_stride;
    int64_t row_pitch;
    std::array<int64_t, NARROWS_MAX_INDICES> index_strides;
  };

  // Adds dimension `d` of the index arrays. It is one of positions unless the array has it, too.
  void add_index_dimension(
      const IndexedViews& views, size_t d, bool is_position, int64_t array_stride);
  void order();
  void merge();
  void call_from(size_t first, IndexedOffsets offsets, const Call& call) const;

  IndexedParams params_{}; // without dimensions
  std::vector<Dimension> dimensions_;
};

// Asks for the kernel's scratch: as much as the largest call needs.
void place_scratch(Placement& placement, const KernelId& kernel, const IndexedWalk& walk);

// Encodes the calls. A gather reads the array and writes `other`; a scatter reads `other` and
// writes the array.
void encode_walk(
    Encoder& encoder,
    const KernelId& kernel,
    const IndexedWalk& walk,
    const ArrayView& array,
    const ArrayView& other,
    std::span<const ArrayView> indices,
    Operand scratch);

} // namespace narrows
