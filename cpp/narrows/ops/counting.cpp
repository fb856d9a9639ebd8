#include "narrows/ops/counting.h"

#include <algorithm>
#include <cmath>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/scatter.h"
#include "narrows/ops/shape.h"
#include "narrows/record/host_array.h"

namespace narrows {
namespace {

const Device kHost{Device::Type::cpu, 0};

// Evaluates which elements are not zero, in row-major order.
array truths(const array& a) {
  return contiguous(astype(a, bool_), false).on_host();
}

// The positions of the elements that are true, in row-major order.
std::vector<int64_t> true_positions(const array& a) {
  const bool* values = a.data<bool>();
  const int64_t count = std::count(values, values + a.size(), true);
  std::vector<int64_t> positions(
      static_cast<size_t>(count) +
      1); // one more, because entries behind the last position are written, too
  int64_t found = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    positions[static_cast<size_t>(found)] = i;
    found += values[i];
  }
  positions.resize(static_cast<size_t>(count));
  return positions;
}

template <typename T>
void write_coordinates(
    const std::vector<int64_t>& positions, int64_t inner, int64_t size, std::byte* memory) {
  T* to = reinterpret_cast<T*>(memory);
  for (size_t i = 0; i < positions.size(); ++i) {
    to[i] = static_cast<T>(positions[i] / inner % size);
  }
}

// The coordinates along one dimension. `inner` is the distance of neighbours along it.
array coordinates(const std::vector<int64_t>& positions, int64_t inner, int64_t size, Dtype dtype) {
  return host_array(
      "nonzero", {static_cast<int64_t>(positions.size())}, dtype, [&](std::byte* memory) {
        dtype == int64 ? write_coordinates<int64_t>(positions, inner, size, memory)
                       : write_coordinates<int32_t>(positions, inner, size, memory);
      });
}

} // namespace

std::vector<array> nonzero(const array& a) {
  if (a.ndim() == 0) {
    fail<ValueError>("[nonzero] array of shape (), expected at least one dimension.");
  }
  const array there = truths(a);
  const std::vector<int64_t> positions = true_positions(there);
  const Shape& shape = a.shape();
  const bool is_large =
      std::any_of(shape.begin(), shape.end(), [](int64_t n) { return n > INT32_MAX; });
  std::vector<array> result(shape.size());
  int64_t inner = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    result[d] = coordinates(positions, inner, shape[d], is_large ? int64 : int32);
    inner *= shape[d];
  }
  return result;
}

array argwhere(const array& a, StreamOrDevice s) {
  if (a.ndim() == 0) {
    return zeros({a.size() > 0 && truths(a).item<bool>() ? 1 : 0, 0}, int32, s);
  }
  return stack(nonzero(a), 1, s);
}

array bincount(
    const array& a, const std::optional<array>& weights, int64_t minlength, StreamOrDevice s) {
  if (a.ndim() != 1 || !(is_integer(a.dtype()) || a.dtype() == bool_) || minlength < 0) {
    fail<ValueError>(
        "[bincount] array of shape ",
        to_string(a.shape()),
        " and dtype ",
        name_of(a.dtype()),
        ", minlength ",
        minlength,
        ", expected integers of one dimension, and no negative minlength.");
  }
  if (weights && weights->shape() != a.shape()) {
    fail<ValueError>(
        "[bincount] weights of shape ",
        to_string(weights->shape()),
        ", expected that of the array, ",
        to_string(a.shape()),
        ".");
  }
  const array numbers = a.dtype() == bool_ ? astype(a, uint8, s) : a;
  int64_t length = minlength;
  if (a.size() > 0) {
    const int64_t least = min(numbers, std::nullopt, false, s).item<int64_t>();
    const int64_t largest = max(numbers, std::nullopt, false, s).item<int64_t>();
    if (least < 0 || largest < 0 || largest == INT64_MAX) {
      fail<ValueError>(
          "[bincount] integers of ", least, " to ", largest, ", expected none below 0.");
    }
    length = std::max(length, largest + 1);
  }
  const Dtype dtype = weights ? at_least_float(weights->dtype()) : int32;
  const array counted = weights ? expand_dims(astype(*weights, dtype, s), {1}, s)
                                : broadcast_to(number(1, int32), {a.size(), 1}, s);
  const array none = zeros({length}, dtype, s);
  return a.size() == 0 ? none : scatter(none, {numbers}, counted, {0}, ScatterOp::add, s);
}

namespace {

// Values as float64 on the host.
std::vector<double> as_doubles(const array& a) {
  const array values = contiguous(astype(a, float64, kHost), false, kHost).on_host();
  return {values.data<double>(), values.data<double>() + values.size()};
}

array of_doubles(const std::vector<double>& values, Dtype dtype) {
  const array exact = host_array(
      "histogram", {static_cast<int64_t>(values.size())}, float64, [&](std::byte* memory) {
        std::copy(values.begin(), values.end(), reinterpret_cast<double*>(memory));
      });
  return astype(exact, dtype, kHost);
}

// They are counted on the host; float32 does not tell the edges of more apart.
constexpr int64_t kMostBins = int64_t{1} << 24;

// The dtype of edges for these values: float32, or that of values with more digits.
Dtype edge_dtype(Dtype dtype) {
  return dtype == float64 ? float64 : float32;
}

std::vector<double> even_edges(
    const std::vector<double>& values,
    int64_t bins,
    const std::optional<std::pair<double, double>>& range,
    Dtype dtype) {
  double first = 0;
  double last = 1;
  if (range) {
    std::tie(first, last) = *range;
  } else if (!values.empty()) {
    const auto [least, largest] = std::minmax_element(values.begin(), values.end());
    first = *least;
    last = *largest;
    for (double x : values) {
      if (!std::isfinite(x)) {
        first = x;
      }
    }
  }
  if (!std::isfinite(first) || !std::isfinite(last) || first > last) {
    fail<ValueError>(
        "[histogram] a range of ", first, " to ", last, ", expected finite numbers in order.");
  }
  if (first == last) {
    first -= 0.5;
    last += 0.5;
  }
  std::vector<double> edges;
  for (int64_t i = 0; i <= bins; ++i) {
    const double edge =
        i == bins ? last
                  : first + (last - first) * static_cast<double>(i) / static_cast<double>(bins);
    edges.push_back(dtype == float64 ? edge : static_cast<float>(edge));
  }
  return edges;
}

// The bin that contains the value, if there is one.
std::optional<size_t> bin_of(double x, const std::vector<double>& edges) {
  if (!(x >= edges.front() && x <= edges.back())) {
    return std::nullopt;
  }
  if (x == edges.back()) {
    return edges.size() - 2;
  }
  return static_cast<size_t>(std::upper_bound(edges.begin(), edges.end(), x) - edges.begin() - 1);
}

std::pair<array, array> histogram_between(
    const array& a,
    const std::vector<double>& values,
    const std::vector<double>& edges,
    Dtype dtype,
    const HistogramOptions& options) {
  const std::optional<array>& weights = options.weights;
  if (weights && (weights->shape() != a.shape() || is_complex(weights->dtype()))) {
    fail<ValueError>(
        "[histogram] weights of shape ",
        to_string(weights->shape()),
        " and dtype ",
        name_of(weights->dtype()),
        ", expected real numbers of shape ",
        to_string(a.shape()),
        ".");
  }
  const std::vector<double> weight = weights ? as_doubles(*weights) : std::vector<double>();
  std::vector<double> counts(edges.size() - 1, 0.0);
  for (size_t i = 0; i < values.size(); ++i) {
    if (const auto bin = bin_of(values[i], edges)) {
      counts[*bin] += weights ? weight[i] : 1.0;
    }
  }
  Dtype count_dtype = weights ? at_least_float(weights->dtype()) : int32;
  if (options.density) {
    double total = 0;
    for (double count : counts) {
      total += count;
    }
    for (size_t i = 0; i < counts.size(); ++i) {
      counts[i] /= total * (edges[i + 1] - edges[i]);
    }
    count_dtype = edge_dtype(a.dtype());
  }
  return {of_doubles(counts, count_dtype), of_doubles(edges, dtype)};
}

void require_real(const array& a) {
  if (is_complex(a.dtype())) {
    fail<ValueError>("[histogram] dtype complex64, expected real numbers.");
  }
}

} // namespace

std::pair<array, array> histogram(const array& a, int64_t bins, const HistogramOptions& options) {
  require_real(a);
  if (bins < 1 || bins > kMostBins) {
    fail<ValueError>("[histogram] ", bins, " bins, expected 1 to ", kMostBins, ".");
  }
  const Dtype dtype = edge_dtype(a.dtype());
  const std::vector<double> values = as_doubles(a);
  const std::vector<double> edges = even_edges(values, bins, options.range, dtype);
  return histogram_between(a, values, edges, dtype, options);
}

std::pair<array, array> histogram(
    const array& a, const array& edges, const HistogramOptions& options) {
  require_real(a);
  require_real(edges);
  const std::vector<double> bounds = as_doubles(edges);
  if (edges.ndim() != 1 || bounds.size() < 2 ||
      !std::all_of(bounds.begin(), bounds.end(), [](double x) { return !std::isnan(x); }) ||
      !std::is_sorted(bounds.begin(), bounds.end())) {
    fail<ValueError>(
        "[histogram] edges of shape ",
        to_string(edges.shape()),
        ", expected two numbers or more that do not decrease.");
  }
  return histogram_between(a, as_doubles(a), bounds, at_least_float(edges.dtype()), options);
}

} // namespace narrows
