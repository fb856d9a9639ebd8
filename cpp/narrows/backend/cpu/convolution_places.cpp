#include "narrows/backend/cpu/convolution_places.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "narrows/core/divided_up.h"

namespace narrows::cpu {

constexpr size_t kPlaces = NARROWS_CONVOLUTION_PLACES;

namespace {

// The x in [0, n) with a * x = 1 modulo n, for numbers without common factors.
int64_t inverse(int64_t a, int64_t n) {
  int64_t x = 0;
  int64_t next_x = 1;
  int64_t rest = n;
  for (int64_t next = a % n; next != 0;) {
    const int64_t times = rest / next;
    rest = std::exchange(next, rest - times * next);
    x = std::exchange(next_x, x - times * next_x);
  }
  return n == 1 ? 0 : (x % n + n) % n;
}

} // namespace

int64_t PlaceRule::place_step() const {
  return divisor / std::gcd(multiplier, divisor);
}

std::vector<PlaceRule::Begin> PlaceRule::classes() const {
  const int64_t shared = std::gcd(multiplier, divisor);
  const int64_t step = place_step();
  const int64_t inverted = inverse(multiplier / shared, step);
  std::vector<Begin> result;
  for (int64_t tap = 0; tap < std::min(taps, divisor / std::gcd(dilation, divisor)); ++tap) {
    // place * multiplier = wanted modulo divisor
    const int64_t wanted = -direction * (tap * dilation - padding);
    if (wanted % shared != 0) {
      continue;
    }
    const auto place = static_cast<int64_t>(__int128{wanted / shared} * inverted % step);
    const int64_t first = place < 0 ? place + step : place;
    if (first < places) {
      result.push_back({first, tap});
    }
  }
  std::sort(result.begin(), result.end(), [](const Begin& a, const Begin& b) {
    return a.place < b.place;
  });
  return result;
}

PlaceClass PlaceRule::place_class(Begin begin) const {
  const auto [place, tap] = begin;
  const int64_t shared = std::gcd(multiplier, divisor);
  const int64_t shared_by_taps = std::gcd(dilation, divisor);
  PlaceClass result{};
  result.first_place = place;
  result.place_step = place_step();
  result.places = divided_up(places - place, result.place_step);
  result.per_place = multiplier / shared;
  result.first_tap = tap;
  result.tap_step = divisor / shared_by_taps;
  result.taps = divided_up(taps - tap, result.tap_step);
  result.per_tap = direction * (dilation / shared_by_taps);
  result.origin = (place * multiplier + direction * (tap * dilation - padding)) / divisor;
  result.source_size = sources;
  if (result.per_tap < 0) { // walk the source upwards, as memory is read
    result.first_tap += (result.taps - 1) * result.tap_step;
    result.tap_step = -result.tap_step;
    result.origin += (result.taps - 1) * result.per_tap;
    result.per_tap = -result.per_tap;
  }
  return result;
}

PlaceRules::PlaceRules(const ConvolutionParams& p, bool forward) {
  for (size_t d = 0; d < kPlaces; ++d) {
    rules_[d] = {
        forward ? p.y_size[d] : p.x_size[d],
        forward ? p.x_size[d] : p.y_size[d],
        p.w_size[d],
        forward ? p.stride[d] : p.x_dilation[d],
        forward ? p.x_dilation[d] : p.stride[d],
        forward ? 1 : -1,
        p.w_dilation[d],
        p.padding[d]};
    classes_[d] = rules_[d].classes();
  }
}

int64_t PlaceRules::classes() const {
  int64_t count = 1;
  for (const auto& classes : classes_) {
    count *= static_cast<int64_t>(classes.size());
  }
  return count;
}

std::array<PlaceClass, kPlaces> PlaceRules::place_classes(int64_t index) const {
  std::array<PlaceClass, kPlaces> result;
  for (size_t d = kPlaces; d-- > 0;) {
    const auto count = static_cast<int64_t>(classes_[d].size());
    result[d] = rules_[d].place_class(classes_[d][index % count]);
    index /= count;
  }
  return result;
}

bool PlaceRules::reach_all() const {
  for (size_t d = 0; d < kPlaces; ++d) {
    const auto count = static_cast<int64_t>(classes_[d].size());
    if (count < std::min(rules_[d].places, rules_[d].place_step())) {
      return false;
    }
  }
  return true;
}

PlaceRows::PlaceRows(
    const std::array<PlaceClass, kPlaces>& classes,
    int64_t batch,
    int64_t source_channels,
    int64_t groups,
    int64_t item_size)
    : classes_(classes),
      channels_(source_channels),
      group_channels_(source_channels / groups),
      item_size_(item_size),
      rows_(batch),
      taps_(1),
      long_runs_(groups == 1 && classes[kPlaces - 1].per_tap == 1) {
  for (const PlaceClass& c : classes) {
    rows_ *= c.places;
    taps_ *= c.taps;
  }
}

int64_t PlaceRows::filter_element(int64_t tap, const int64_t* filter_size) const {
  int64_t result = 0;
  int64_t step = 1;
  for (size_t d = kPlaces; d-- > 0; tap /= classes_[d].taps, step *= filter_size[d]) {
    result += step * (classes_[d].first_tap + tap % classes_[d].taps * classes_[d].tap_step);
  }
  return result;
}

PlaceRows::Row PlaceRows::row_at(int64_t row) const {
  Row result;
  for (size_t d = kPlaces; d-- > 0; row /= classes_[d].places) {
    result.position[d] = row % classes_[d].places;
  }
  result.entry = row;
  return result;
}

int64_t PlaceRows::place(int64_t row, const int64_t* place_size) const {
  const Row at = row_at(row);
  int64_t result = at.entry;
  for (size_t d = 0; d < kPlaces; ++d) {
    const PlaceClass& c = classes_[d];
    result = result * place_size[d] + c.first_place + at.position[d] * c.place_step;
  }
  return result;
}

bool PlaceRows::are_all_places(const int64_t* place_size) const {
  for (size_t d = 0; d < kPlaces; ++d) {
    if (classes_[d].places != place_size[d]) {
      return false;
    }
  }
  return true;
}

bool PlaceRows::are_all_taps(const int64_t* filter_size) const {
  for (size_t d = 0; d < kPlaces; ++d) {
    if (classes_[d].taps != filter_size[d]) {
      return false;
    }
  }
  return true;
}

bool PlaceRows::are_source() const {
  for (const PlaceClass& c : classes_) {
    if (c.taps != 1 || c.origin != 0 || c.per_place != 1 || c.places != c.source_size) {
      return false;
    }
  }
  return true;
}

// What a filter sees consists of runs: elements that lie side by side in the source, those of one
// tap or of all taps along the last dimension. Elements outside of the source are zero.
void PlaceRows::gather_row(
    const std::byte* source,
    const Row& row,
    int64_t first_column,
    int64_t end_column,
    std::byte* to) const {
  const PlaceClass& depth = classes_[0];
  const PlaceClass& height = classes_[1];
  const PlaceClass& width = classes_[2];
  const int64_t run_taps = long_runs_ ? width.taps : 1;
  const int64_t run = run_taps * group_channels_;
  const auto start = [&](size_t d) {
    return classes_[d].origin + row.position[d] * classes_[d].per_place;
  };
  const int64_t x0 = start(2);
  int64_t rest = first_column / run * run_taps;
  int64_t t2 = rest % width.taps;
  rest /= width.taps;
  int64_t t1 = rest % height.taps;
  int64_t t0 = rest / height.taps;
  int64_t skipped = first_column % run; // of the first run
  for (int64_t column = first_column; column < end_column;) {
    const int64_t z = start(0) + t0 * depth.per_tap;
    const int64_t y = start(1) + t1 * height.per_tap;
    const bool is_inside = z >= 0 && z < depth.source_size && y >= 0 && y < height.source_size;
    const int64_t line = (row.entry * depth.source_size + z) * height.source_size + y;
    for (; t2 < width.taps && column < end_column; t2 += run_taps) {
      const int64_t count = std::min(run - skipped, end_column - column);
      copy_run(
          source,
          is_inside ? line * width.source_size : -1,
          x0 + t2 * width.per_tap,
          skipped,
          count,
          to);
      to += count * item_size_;
      column += count;
      skipped = 0;
    }
    t2 = 0;
    if (++t1 == height.taps) {
      t1 = 0;
      ++t0;
    }
  }
}

// Elements [skipped, skipped + count) of a run that begins at element x of the line at `line` in
// the source; -1: outside of every line.
inline void PlaceRows::copy_run(
    const std::byte* source, int64_t line, int64_t x, int64_t skipped, int64_t count, std::byte* to)
    const {
  const int64_t size = classes_[2].source_size * group_channels_;
  const int64_t from = x * group_channels_ + skipped; // in a line that has only these channels
  const auto bytes = [&](int64_t n) { return static_cast<size_t>(n * item_size_); };
  if (line < 0 || from + count <= 0 || from >= size) {
    std::memset(to, 0, bytes(count));
    return;
  }
  const int64_t before = std::max<int64_t>(0, -from);
  const int64_t behind = std::max<int64_t>(0, from + count - size);
  if (before > 0) {
    std::memset(to, 0, bytes(before));
  }
  std::memcpy(
      to + before * item_size_,
      source + ((line + x) * channels_ + skipped + before) * item_size_,
      bytes(count - before - behind));
  if (behind > 0) {
    std::memset(to + (count - behind) * item_size_, 0, bytes(behind));
  }
}

void PlaceRows::gather(
    const std::byte* source,
    int64_t group,
    int64_t first_row,
    int64_t end_row,
    int64_t first_column,
    int64_t end_column,
    std::byte* to) const {
  source += group * group_channels_ * item_size_;
  const int64_t bytes = (end_column - first_column) * item_size_;
  Row row = row_at(first_row);
  for (int64_t r = first_row; r < end_row; ++r, to += bytes) {
    gather_row(source, row, first_column, end_column, to);
    for (size_t d = kPlaces; d-- > 0;) {
      if (++row.position[d] < classes_[d].places) {
        break;
      }
      row.position[d] = 0;
      row.entry += d == 0;
    }
  }
}

} // namespace narrows::cpu
