// Functions that look at values first, because their result's shape or their checks depend on them.
// They evaluate their arguments and compute on the host.
#pragma once

#include <utility>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// The indices of the elements that are not zero, in row-major order: one array for each dimension,
// int32, or int64 where a dimension has 2^31 elements or more. ValueError for an array without
// dimensions.
std::vector<array> nonzero(const array& a);

// The same as rows: an array of shape (count, ndim).
array argwhere(const array& a, StreamOrDevice s = {});

// How often each of the integers 0, 1, ... occurs, up to the largest one and at least `minlength`
// of them, as int32. With weights: their sums. ValueError unless `a` has one dimension and no
// negative integers.
array bincount(
    const array& a,
    const std::optional<array>& weights = std::nullopt,
    int64_t minlength = 0,
    StreamOrDevice s = {});

// How many elements lie in each of the bins between consecutive edges (the last bin has its upper
// edge, too), and the edges. Either `bins` of the same width from the least to the largest element,
// or from the first to the second number of `range`; or the given edges, which do not decrease.
// Weights count elements by them; a density is one whose integral is 1. ValueError if edges
// decrease or are not finite.
struct HistogramOptions {
  std::optional<std::pair<double, double>> range;
  std::optional<array> weights;
  bool density = false;
};
std::pair<array, array> histogram(const array& a, int64_t bins, const HistogramOptions& options);
std::pair<array, array> histogram(
    const array& a, const array& edges, const HistogramOptions& options);

} // namespace narrows
