#include "narrows/backend/cpu/fft_plan.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <mutex>

#include "narrows/core/divided_up.h"

namespace narrows::cpu {
namespace {

using Complex = std::complex<double>;

// Rows of at least this length are transformed one by one.
constexpr int64_t kShortestRow = 256;
// Rows of at most so many elements store all their twiddle factors.
constexpr int64_t kLongestTurns = 1 << 15;
// Larger tables of a chirp, and of the roots for real rows, are not kept.
constexpr int64_t kLargestTable = int64_t{16} << 20;
// The most bytes and plans in the cache.
constexpr int64_t kCacheBytes = int64_t{64} << 20;
constexpr size_t kCachePlans = 64;

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
  int64_t length = plan.length;
  int64_t width = kFftLanes;
  for (const int radix : radices) {
    length /= radix;
    plan.stages.push_back({radix, length, width, nullptr});
    width *= radix;
  }
}

void fill_powers(FftPlan& plan) {
  size_t count = 0;
  for (const FftStage& stage : plan.stages) {
    count += 2 * static_cast<size_t>(stage.blocks) * (stage.radix - 1);
  }
  plan.powers.reserve(count); // stages point into it
  for (FftStage& stage : plan.stages) {
    stage.powers = plan.powers.data() + plan.powers.size();
    for (int64_t p = 0; p < stage.blocks; ++p) {
      for (int k = 1; k < stage.radix; ++k) {
        append(plan.powers, root_of_unity(p * k, stage.blocks * stage.radix));
      }
    }
  }
}

// exp(-pi i k^2 / n) is root(k^2, 2 n). Squares are taken modulo 2 n, which keeps angles exact.
int64_t chirp_exponent(int64_t k, int64_t n) {
  return static_cast<int64_t>(static_cast<__int128>(k) * k % (2 * n));
}

// A transform in double precision, of any length without large prime factors.
std::vector<Complex> transformed(std::vector<Complex> x) {
  const auto n = static_cast<int64_t>(x.size());
  const RootsOfUnity roots(n);
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

// The chirp, and its spectrum, in double precision.
void fill_chirp_tables(FftPlan& plan) {
  const int64_t n = plan.length;
  const int64_t inner = plan.inner->length;
  const RootsOfUnity roots(2 * n);
  plan.chirp.resize(2 * n);
  fill_chirp(roots, n, 0, n, plan.chirp.data());
  std::vector<Complex> conjugate(static_cast<size_t>(inner));
  for (int64_t k = 0; k < n; ++k) {
    const Complex value = std::conj(roots[chirp_exponent(k, n)]);
    conjugate[k] = value;
    conjugate[k == 0 ? 0 : inner - k] = value;
  }
  plan.spectrum.reserve(2 * inner);
  for (const Complex& value : transformed(std::move(conjugate))) {
    append(plan.spectrum, value / static_cast<double>(inner));
  }
}

// How many times more work lanes are than what stands in them.
double lanes_wasted(int64_t lines) {
  const int64_t blocks = divided_up(lines, kFftLanes);
  return static_cast<double>(blocks * kFftLanes) / static_cast<double>(lines);
}

// All divisors of a length without large prime factors, in order.
std::vector<int64_t> divisors_of(int64_t length) {
  std::vector<int64_t> divisors = {1};
  for (const int64_t prime : {2, 3, 5, 7, 11, 13}) {
    const size_t count = divisors.size();
    for (int64_t power = prime; length % power == 0; power *= prime) {
      for (size_t i = 0; i < count; ++i) {
        divisors.push_back(divisors[i] * power);
      }
    }
  }
  std::sort(divisors.begin(), divisors.end());
  return divisors;
}

// The factors of a row's length: near each other, and such that lanes are full.
int64_t first_factor(int64_t length) {
  int64_t best = 0;
  double least = 0;
  for (const int64_t first : divisors_of(length)) {
    const int64_t second = length / first;
    if (first == 1 || first > second * 16) {
      continue;
    }
    const double distance = std::abs(std::log2(static_cast<double>(first) / second));
    const double cost = (lanes_wasted(first) + lanes_wasted(second)) * (1 + distance / 8);
    if (best == 0 || cost < least) {
      best = first;
      least = cost;
    }
  }
  return best;
}

void fill_turns(FftPlan& plan) {
  if (!plan.keeps_turns()) {
    plan.roots = RootsOfUnity(plan.length);
    return;
  }
  for (int64_t column = 0; column < plan.second; column += kFftLanes) {
    for (int64_t i = 0; i < plan.first; ++i) {
      float lanes[2][kFftLanes];
      for (int64_t lane = 0; lane < kFftLanes; ++lane) {
        const Complex value = root_of_unity(i * (column + lane), plan.length);
        lanes[0][lane] = static_cast<float>(value.real());
        lanes[1][lane] = static_cast<float>(value.imag());
      }
      plan.turns.insert(plan.turns.end(), &lanes[0][0], &lanes[0][0] + 2 * kFftLanes);
    }
  }
}

void fill_tables(FftPlan& plan) {
  if (plan.inner) {
    if (plan.keeps_chirp()) {
      fill_chirp_tables(plan);
    }
  } else if (plan.first > 0) {
    fill_turns(plan);
  } else {
    fill_powers(plan);
  }
}

std::shared_ptr<const FftPlan> make_plan(int64_t length, FftUse use, FftTables tables) {
  auto plan = std::make_shared<FftPlan>();
  plan->length = length;
  const std::vector<int> radices = radices_of(length);
  if (radices.empty() && length > 1) {
    plan->inner = fft_plan(smooth_length(2 * length - 1), use, tables);
  } else if (use == FftUse::rows && length >= kShortestRow) {
    plan->first = first_factor(length);
    plan->second = length / plan->first;
    plan->first_plan = fft_plan(plan->first, FftUse::lanes, tables);
    plan->second_plan = fft_plan(plan->second, FftUse::lanes, tables);
  } else {
    plan_stages(*plan, radices);
  }
  if (tables == FftTables::made) {
    fill_tables(*plan);
  }
  return plan;
}

int64_t bytes_of(const FftPlan& plan) {
  const size_t floats =
      plan.powers.size() + plan.chirp.size() + plan.spectrum.size() + plan.turns.size();
  return static_cast<int64_t>(floats * sizeof(float)) + plan.roots.bytes();
}
int64_t bytes_of(const RealRoots& roots) {
  return roots.bytes();
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

bool FftPlan::keeps_turns() const {
  return first > 0 && length <= kLongestTurns;
}

// Chirps of lanes are short.
bool FftPlan::keeps_chirp() const {
  const int64_t pairs = length + inner->length;
  return inner->first == 0 || pairs * int64_t{2 * sizeof(float)} <= kLargestTable;
}

void fill_chirp(
    const RootsOfUnity& roots, int64_t length, int64_t begin, int64_t end, float* pairs) {
  for (int64_t k = begin; k < end; ++k) {
    const Complex root = roots[chirp_exponent(k, length)];
    *pairs++ = static_cast<float>(root.real());
    *pairs++ = static_cast<float>(root.imag());
  }
}

RealRoots::RealRoots(int64_t length) {
  const int64_t count = length / 4 + 1;
  if (count * static_cast<int64_t>(sizeof(pairs_[0])) > kLargestTable) {
    roots_ = RootsOfUnity(length);
    return;
  }
  pairs_.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    const Complex root = root_of_unity(k, length);
    pairs_.emplace_back(static_cast<float>(root.real()), static_cast<float>(root.imag()));
  }
}

std::shared_ptr<const FftPlan> fft_plan(int64_t length, FftUse use, FftTables tables) {
  static Cache<FftPlan> caches[2][2]; // of each use, with and without tables
  return caches[static_cast<int>(use)][static_cast<int>(tables)].find(
      length, [&](int64_t n) { return make_plan(n, use, tables); });
}

std::shared_ptr<const RealRoots> real_roots(int64_t length) {
  static Cache<RealRoots> cache;
  return cache.find(length, [](int64_t n) { return std::make_shared<const RealRoots>(n); });
}

} // namespace narrows::cpu
