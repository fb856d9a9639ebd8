#include "narrows/backend/cpu/fft_plan.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <list>
#include <mutex>
#include <numbers>

#include "narrows/core/divided_up.h"

namespace narrows::cpu {
namespace {

using Complex = std::complex<double>;

// Rows of at least this length are transformed one by one.
constexpr int64_t kShortestRow = 256;
// Rows of at most so many elements store all their twiddle factors.
constexpr int64_t kLongestTurns = 1 << 15;
// Exponents below this are the small ones.
constexpr int64_t kLowRoots = 1 << 10;
// The most bytes and plans in the cache.
constexpr int64_t kCacheBytes = int64_t{64} << 20;
constexpr size_t kCachePlans = 64;

// exp(-2 pi i k / n). The angle is computed from the nearest eighth of a turn, which is exact.
Complex root(int64_t k, int64_t n) {
  k %= n;
  const __int128 eighths = __int128{8} * k;
  const auto octant = static_cast<int>(eighths / n);
  const bool odd = octant % 2 != 0;
  // 8 k / n = octant + rest; of odd octants the distance to the next one counts.
  const __int128 rest = eighths - __int128{octant} * n;
  const double angle =
      static_cast<double>(odd ? n - rest : rest) / static_cast<double>(n) * (std::numbers::pi / 4);
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  switch (octant) {
    case 0:
      return {cosine, -sine};
    case 1:
      return {sine, -cosine};
    case 2:
      return {-sine, -cosine};
    case 3:
      return {-cosine, -sine};
    case 4:
      return {-cosine, sine};
    case 5:
      return {-sine, cosine};
    case 6:
      return {sine, cosine};
    default:
      return {cosine, sine};
  }
}

void append(std::vector<float>& pairs, Complex value) {
  pairs.push_back(static_cast<float>(value.real()));
  pairs.push_back(static_cast<float>(value.imag()));
}

// The radices of the stages; empty if there is a larger prime factor.
std::vector<int> radices_of(int64_t length) {
  std::vector<int> radices;
  int twos = 0;
  for (; length % 2 == 0; length /= 2) {
    ++twos;
  }
  // Eights, and fours where that leaves no single two.
  for (; twos >= 3 && twos != 4; twos -= 3) {
    radices.push_back(8);
  }
  for (; twos >= 2; twos -= 2) {
    radices.push_back(4);
  }
  if (twos == 1) {
    radices.push_back(2);
  }
  for (const int radix : {3, 5, 7, 11, 13}) {
    for (; length % radix == 0; length /= radix) {
      radices.push_back(radix);
    }
  }
  return length == 1 ? radices : std::vector<int>();
}

void plan_stages(FftPlan& plan, const std::vector<int>& radices) {
  std::vector<size_t> begins;
  int64_t length = plan.length;
  int64_t width = kFftLanes;
  for (const int radix : radices) {
    const int64_t blocks = length / radix;
    begins.push_back(plan.powers.size());
    plan.stages.push_back({radix, blocks, width, nullptr});
    for (int64_t p = 0; p < blocks; ++p) {
      for (int k = 1; k < radix; ++k) {
        append(plan.powers, root(p * k, length));
      }
    }
    length = blocks;
    width *= radix;
  }
  for (size_t i = 0; i < begins.size(); ++i) {
    plan.stages[i].powers = plan.powers.data() + begins[i];
  }
}

// A transform in double precision, of any length without large prime factors.
std::vector<Complex> transformed(std::vector<Complex> x) {
  const auto n = static_cast<int64_t>(x.size());
  std::vector<Complex> roots(x.size());
  for (int64_t k = 0; k < n; ++k) {
    roots[k] = root(k, n);
  }
  std::vector<Complex> y(x.size());
  int64_t width = 1;
  for (const int radix : radices_of(n)) {
    const int64_t blocks = n / width / radix;
    for (int64_t p = 0; p < blocks; ++p) {
      for (int64_t q = 0; q < width; ++q) {
        for (int k = 0; k < radix; ++k) {
          Complex sum = 0;
          for (int j = 0; j < radix; ++j) {
            sum += x[q + width * (p + blocks * j)] * roots[n / radix * (j * k % radix)];
          }
          y[q + width * (p * radix + k)] = sum * roots[p * k * width];
        }
      }
    }
    std::swap(x, y);
    width *= radix;
  }
  return x;
}

// A length that has small factors only, among them many twos, and is not shorter.
int64_t smooth_length(int64_t least) {
  int64_t best = INT64_MAX;
  for (const int64_t odd : {1, 3, 5, 7, 9, 15, 21, 25, 27}) {
    int64_t length = odd * 16;
    while (length < least) {
      length *= 2;
    }
    best = std::min(best, length);
  }
  return best;
}

void plan_chirp(FftPlan& plan, FftUse use) {
  const int64_t n = plan.length;
  plan.inner = fft_plan(smooth_length(2 * n - 1), use);
  const int64_t inner = plan.inner->length;
  // exp(-pi i k^2 / n): squares are taken modulo 2 n, which keeps angles exact.
  std::vector<Complex> conjugate(static_cast<size_t>(inner));
  for (int64_t k = 0; k < n; ++k) {
    const auto square = static_cast<int64_t>(static_cast<__int128>(k) * k % (2 * n));
    const Complex value = root(square, 2 * n);
    append(plan.chirp, value);
    conjugate[k] = std::conj(value);
    conjugate[k == 0 ? 0 : inner - k] = std::conj(value);
  }
  for (const Complex& value : transformed(std::move(conjugate))) {
    append(plan.spectrum, value / static_cast<double>(inner));
  }
}

// How many times more work lanes are than what stands in them.
double lanes_wasted(int64_t lines) {
  const int64_t blocks = divided_up(lines, kFftLanes);
  return static_cast<double>(blocks * kFftLanes) / static_cast<double>(lines);
}

// The factors of a row's length: near each other, and such that lanes are full.
int64_t first_factor(int64_t length) {
  int64_t best = 0;
  double least = 0;
  for (int64_t first = 2; first * first <= length * 16; ++first) {
    if (length % first != 0) {
      continue;
    }
    const int64_t second = length / first;
    const double distance = std::abs(std::log2(static_cast<double>(first) / second));
    const double cost = (lanes_wasted(first) + lanes_wasted(second)) * (1 + distance / 8);
    if (best == 0 || cost < least) {
      best = first;
      least = cost;
    }
  }
  return best;
}

void plan_turns(FftPlan& plan) {
  if (plan.length > kLongestTurns) {
    for (int64_t k = 0; k < kLowRoots; ++k) {
      const Complex value = root(k, plan.length);
      plan.low_roots.insert(plan.low_roots.end(), {value.real(), value.imag()});
    }
    for (int64_t k = 0; k < plan.length; k += kLowRoots) {
      const Complex value = root(k, plan.length);
      plan.high_roots.insert(plan.high_roots.end(), {value.real(), value.imag()});
    }
    return;
  }
  for (int64_t column = 0; column < plan.second; column += kFftLanes) {
    for (int64_t i = 0; i < plan.first; ++i) {
      float lanes[2][kFftLanes];
      for (int64_t lane = 0; lane < kFftLanes; ++lane) {
        const Complex value = root(i * (column + lane), plan.length);
        lanes[0][lane] = static_cast<float>(value.real());
        lanes[1][lane] = static_cast<float>(value.imag());
      }
      plan.turns.insert(plan.turns.end(), &lanes[0][0], &lanes[0][0] + 2 * kFftLanes);
    }
  }
}

std::shared_ptr<const FftPlan> make_plan(int64_t length, FftUse use) {
  auto plan = std::make_shared<FftPlan>();
  plan->length = length;
  const std::vector<int> radices = radices_of(length);
  if (radices.empty() && length > 1) {
    plan_chirp(*plan, use);
    return plan;
  }
  if (use == FftUse::rows && length >= kShortestRow) {
    plan->first = first_factor(length);
    plan->second = length / plan->first;
    plan->first_plan = fft_plan(plan->first, FftUse::lanes);
    plan->second_plan = fft_plan(plan->second, FftUse::lanes);
    plan_turns(*plan);
  } else {
    plan_stages(*plan, radices);
  }
  return plan;
}

std::shared_ptr<const RealRoots> make_real_roots(int64_t length) {
  auto roots = std::make_shared<RealRoots>();
  for (int64_t k = 0; k <= length / 4; ++k) {
    append(roots->pairs, root(k, length));
  }
  return roots;
}

int64_t bytes_of(const FftPlan& plan) {
  const size_t floats = plan.powers.size() + plan.chirp.size() + plan.spectrum.size() +
                        plan.turns.size() + 2 * (plan.low_roots.size() + plan.high_roots.size());
  return static_cast<int64_t>(floats * sizeof(float));
}
int64_t bytes_of(const RealRoots& roots) {
  return static_cast<int64_t>(roots.pairs.size() * sizeof(float));
}

// The values that were asked for last, in that order.
template <typename Value>
class Cache {
 public:
  template <typename Make>
  std::shared_ptr<const Value> find(int64_t length, Make&& make) {
    {
      const std::scoped_lock lock(mutex_);
      for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
        if (entry->length == length) {
          entries_.splice(entries_.begin(), entries_, entry);
          return entry->value;
        }
      }
    }
    // Others may look for other lengths meanwhile; making a plan looks for its parts.
    std::shared_ptr<const Value> value = make(length);
    const std::scoped_lock lock(mutex_);
    entries_.push_front({length, value});
    bytes_ += bytes_of(*value);
    while (entries_.size() > 1 && (entries_.size() > kCachePlans || bytes_ > kCacheBytes)) {
      bytes_ -= bytes_of(*entries_.back().value);
      entries_.pop_back();
    }
    return value;
  }

 private:
  struct Entry {
    int64_t length;
    std::shared_ptr<const Value> value;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;
  int64_t bytes_ = 0;
};

} // namespace

std::shared_ptr<const FftPlan> fft_plan(int64_t length, FftUse use) {
  static Cache<FftPlan> for_lanes;
  static Cache<FftPlan> for_rows;
  Cache<FftPlan>& cache = use == FftUse::rows ? for_rows : for_lanes;
  return cache.find(length, [use](int64_t n) { return make_plan(n, use); });
}

std::shared_ptr<const RealRoots> real_roots(int64_t length) {
  static Cache<RealRoots> cache;
  return cache.find(length, make_real_roots);
}

} // namespace narrows::cpu
