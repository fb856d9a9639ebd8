// Which elements of one array the filters of a convolution bring to which places of another array.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "metal_kernels/convolution.h"

namespace narrows::cpu {

// One dimension. If a stride or a dilation leaves gaps, not all elements of a filter reach every
// place. Places that the same elements reach form a class. Places that no element reaches are in
// none: there may be very many of them. In a class
// place j is `first_place` + j * `place_step`, for j < `places`;
// tap t is element `first_tap` + t * `tap_step` of the filter, for t < `taps`;
// tap t brings element `origin` + j * `per_place` + t * `per_tap` of the source to place j, or
// nothing if that is not in [0, `source_size`).
struct PlaceClass {
  int64_t first_place, place_step, places;
  int64_t first_tap, tap_step, taps;
  int64_t origin, per_place, per_tap;
  int64_t source_size;
};

// How places and sources of a dimension correspond: element k of the filter brings source i to
// place p if i * divisor = p * multiplier + direction * (k * dilation - padding).
struct PlaceRule {
  int64_t places, sources, taps;
  int64_t multiplier, divisor, direction;
  int64_t dilation, padding;

  // The first place of a class, and the first element of the filter that reaches it.
  struct Begin {
    int64_t place, tap;
  };
  std::vector<Begin> classes() const;
  PlaceClass place_class(Begin begin) const;
  // Of every how many places the same elements reach one.
  int64_t place_step() const;
};

// The rules of all dimensions. Forward, and for weights, the places are those of y and the sources
// those of x. Backward it is the other way round.
class PlaceRules {
 public:
  PlaceRules(const ConvolutionParams& params, bool forward);

  // The number of combinations of classes.
  int64_t classes() const;
  std::array<PlaceClass, NARROWS_CONVOLUTION_PLACES> place_classes(int64_t index) const;
  // Whether every place is in a class.
  bool reach_all() const;

 private:
  std::array<PlaceRule, NARROWS_CONVOLUTION_PLACES> rules_;
  std::array<std::vector<PlaceRule::Begin>, NARROWS_CONVOLUTION_PLACES> classes_;
};

// The places of a batch that belong to one combination of classes, as rows, and what the taps bring
// to them, as columns. Columns are the taps in row-major order, each with the channels of a group.
class PlaceRows {
 public:
  PlaceRows(
      const std::array<PlaceClass, NARROWS_CONVOLUTION_PLACES>& classes,
      int64_t batch,
      int64_t source_channels,
      int64_t groups,
      int64_t item_size);

  int64_t rows() const {
    return rows_;
  }
  int64_t taps() const {
    return taps_;
  }
  int64_t columns() const {
    return taps_ * group_channels_;
  }
  // The element of the filter that a tap is, in row-major order of a filter of these sizes.
  int64_t filter_element(int64_t tap, const int64_t* filter_size) const;
  // The place that a row is, in row-major order of the batch and of these sizes.
  int64_t place(int64_t row, const int64_t* place_size) const;
  // Whether the rows are all places, in order.
  bool are_all_places(const int64_t* place_size) const;
  // Whether the taps are all elements of the filter, in order.
  bool are_all_taps(const int64_t* filter_size) const;
  // Whether the rows are the source itself, with all its channels.
  bool are_source() const;

  // Writes the columns [first_column, end_column) of the rows [first_row, end_row), row by row.
  void gather(
      const std::byte* source,
      int64_t group,
      int64_t first_row,
      int64_t end_row,
      int64_t first_column,
      int64_t end_column,
      std::byte* to) const;

 private:
  struct Row {
    int64_t entry;                                            // of the batch
    std::array<int64_t, NARROWS_CONVOLUTION_PLACES> position; // j of each dimension
  };
  Row row_at(int64_t row) const;
  void gather_row(
      const std::byte* source,
      const Row& row,
      int64_t first_column,
      int64_t end_column,
      std::byte* to) const;

  void copy_run(
      const std::byte* source,
      int64_t line,
      int64_t x,
      int64_t skipped,
      int64_t count,
      std::byte* to) const;

  std::array<PlaceClass, NARROWS_CONVOLUTION_PLACES> classes_;
  int64_t channels_;
  int64_t group_channels_;
  int64_t item_size_;
  int64_t rows_;
  int64_t taps_;
  bool long_runs_; // the taps of the last dimension lie side by side in the source
};

} // namespace narrows::cpu
