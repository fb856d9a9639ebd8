#include "narrows/order/rates.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <optional>
#include <vector>

#include "metal_kernels/matmul.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/order/settings.h"
#include "narrows/run/encode.h"
#include "narrows/runtime/host_copies.h"
#include "narrows/runtime/parallel.h"
#include "narrows/runtime/tf32.h"

namespace narrows {
namespace {

// Proportions are what counts: a core of a CPU does some 10 operations for each byte of memory that
// it reads, a GPU some 15.
constexpr Rates kUsualOfCpus{1e10, 1e11, 1e-6, 1e10};
constexpr Rates kUsualOfGpus{2e12, 3e13, 3e-6, 2.5e10};

// A block of the device's memory that is not counted, because it is there for a moment only.
class Block {
 public:
  Block(MemorySource& source, int64_t bytes) : source_(source), bytes_(bytes) {
    buffer_.memory = source.allocate(bytes);
    buffer_.bytes = buffer_.capacity = bytes;
    buffer_.source = &source;
  }
  ~Block() {
    if (buffer_.memory) {
      source_.release(buffer_.memory, bytes_);
    }
  }
  Block(const Block&) = delete;
  explicit operator bool() const {
    return buffer_.memory != nullptr;
  }
  Buffer* buffer() {
    return &buffer_;
  }

 private:
  MemorySource& source_;
  const int64_t bytes_;
  Buffer buffer_;
};

class Measurement {
 public:
  explicit Measurement(Device device)
      : backend_(backend_for(device)),
        encoder_(backend_.encoder(default_stream(device))),
        is_gpu_(device.type == Device::Type::gpu),
        side_(is_gpu_ ? 4096 : 256),
        count_(is_gpu_ ? int64_t{1} << 25 : int64_t{1} << 22),
        from_(backend_.memory(), 4 * count_),
        to_(backend_.memory(), 4 * count_) {
  }

  // Nothing where the device has no memory left, computes nothing, or is an emulated one.
  std::optional<Rates> run() {
    if (!from_ || !to_ || !copies_elements()) {
      return std::nullopt;
    }
    Rates rates = is_gpu_ ? kUsualOfGpus : kUsualOfCpus;
    // However busy a CPU is, it is one.
    if (is_gpu_ &&
        seconds_of([&] { copy(kSome); }) * static_cast<double>(count_ / kSome) > kTooLong) {
      return std::nullopt;
    }
    constexpr int kLaunches = 64;
    rates.launch = seconds_of([&] {
                     for (int i = 0; i < kLaunches; ++i) {
                       copy(kFew);
                     }
                   }) /
                   kLaunches;
    rates.bytes = 8.0 * static_cast<double>(count_) / seconds_of([&] { copy(count_); });
    measure_products(rates);
    measure_host_copies(rates);
    return are_plausible(rates) ? std::optional(rates) : std::nullopt;
  }

 private:
  static constexpr int64_t kFew = 256; // elements
  static constexpr int64_t kSome = 1 << 16;
  static constexpr double kTooLong = 0.2; // seconds for one measurement

  // The least of some times, behind one that is not counted.
  template <typename F>
  double seconds_of(F&& f) {
    using Clock = std::chrono::steady_clock;
    constexpr int kRounds = 10; // on a machine in use few are undisturbed
    double least = INFINITY;
    for (int round = 0; round <= kRounds; ++round) {
      encoder_.finish();
      const auto start = Clock::now();
      f();
      encoder_.finish();
      const std::chrono::duration<double> seconds = Clock::now() - start;
      least = round > 0 ? std::min(least, seconds.count()) : least;
    }
    return std::max(least, 1e-9);
  }

  void copy(int64_t count) {
    const Shape shape{count};
    const Layout layout = Layout::row_major(shape);
    const ArrayView input{from_.buffer(), &shape, &layout, float32};
    encode_copy(encoder_, input, {to_.buffer(), &shape, &layout, float32});
  }

  bool copies_elements() {
    std::array<float, kFew> numbers;
    for (size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = static_cast<float>(i) + 1;
    }
    Buffer on_host;
    on_host.memory = numbers.data();
    transfer({&on_host, 0}, {from_.buffer(), 0}, sizeof(numbers));
    copy(kFew);
    encoder_.finish();
    std::array<float, kFew> found{};
    on_host.memory = found.data();
    MemorySource& memory = backend_.memory();
    if (memory.host_visible()) {
      std::memcpy(found.data(), to_.buffer()->memory, sizeof(found));
    } else {
      memory.read(to_.buffer()->memory, found.data(), sizeof(found));
    }
    return found == numbers;
  }

  // Small products first: they tell how long large ones would take.
  void measure_products(Rates& rates) {
    for (const int64_t side : {side_ / 8, side_}) {
      const double flops = 2 * std::pow(static_cast<double>(side), 3);
      if (side == side_ / 8 || flops < kTooLong * rates.flops) {
        const double seconds = seconds_of_product(side);
        rates.flops = std::isfinite(seconds) ? flops / seconds : rates.flops;
      }
    }
  }

  double seconds_of_product(int64_t side) {
    MatmulParams params{};
    params.m = params.n = params.k = params.lda = params.ldb = params.ldc = side;
    params.alpha = 1;
    const KernelId kernel{KernelFamily::matmul, 0, float32, float32};
    const auto bytes_of = backend_.scratch(KernelFamily::matmul);
    const int64_t bytes =
        bytes_of ? bytes_of(kernel, std::as_bytes(std::span(&params, size_t{1}))) : 0;
    Block third(backend_.memory(), 4 * side * side);
    Block scratch(backend_.memory(), std::max<int64_t>(64, bytes));
    if (!third || !scratch) {
      return INFINITY;
    }
    const std::array operands{
        Operand{from_.buffer(), 0}, Operand{to_.buffer(), 0}, Operand{third.buffer(), 0}};
    return seconds_of([&] {
      encoder_.run({kernel, operands, params, Operand{scratch.buffer(), 0}});
    });
  }

  void measure_host_copies(Rates& rates) {
    HostCopies* copies = host_copies_of(backend_);
    if (!copies) {
      return;
    }
    const int64_t bytes = std::min<int64_t>(4 * count_, int64_t{1} << 26);
    Block on_host(copies->host_memory(), bytes);
    if (!on_host) {
      return;
    }
    const double there = seconds_of([&] {
      copies->copy_to_host({to_.buffer(), 0}, {on_host.buffer(), 0}, bytes);
    });
    const double back = seconds_of([&] {
      copies->copy_from_host({on_host.buffer(), 0}, {to_.buffer(), 0}, bytes);
    });
    rates.copied_bytes = 2.0 * static_cast<double>(bytes) / (there + back);
  }

  Backend& backend_;
  Encoder& encoder_;
  const bool is_gpu_;
  const int64_t side_;  // of matrices
  const int64_t count_; // of elements
  Block from_;
  Block to_;
};

// What rates depend on.
std::string key_of(Device device) {
  std::string key = concat_message(
      "1 ",
      device.type == Device::Type::gpu ? "gpu" : "cpu",
      " ",
      thread_count(),
      " ",
      tf32_enabled());
  for (const auto& [name, value] : backend_for(device).info()) {
    const auto* text = std::get_if<std::string>(&value);
    key += concat_message(" ", name, "=", text ? *text : std::string());
  }
  std::replace(key.begin(), key.end(), '\n', ' ');
  return key;
}

uint64_t hash_of(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325; // FNV-1a
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  return hash;
}

std::string hex_of(uint64_t number) {
  char text[20];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(number));
  return text;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Writes beside the file and renames. What fails is measured again next time.
void write_file(const std::filesystem::path& path, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::filesystem::path beside = path;
  beside += concat_message(".", getpid());
  std::ofstream file(beside, std::ios::binary);
  file << text;
  file.close();
  if (file) {
    std::filesystem::rename(beside, path, error);
  }
  if (!file || error) {
    std::filesystem::remove(beside, error);
  }
}

// By device type. They are set once.
struct Known {
  std::mutex mutex; // of those who measure
  std::atomic<bool> is_settled{false};
  std::atomic<const Rates*> rates{nullptr};
};

Known& known_of(Device device) {
  static std::array<Known, 2> known;
  return known[static_cast<size_t>(device.type)];
}

std::optional<Rates> find_rates(Device device) {
  const std::string directory = rates_directory();
  if (directory.empty()) {
    return std::nullopt;
  }
  const std::string key = key_of(device);
  const std::filesystem::path path = std::filesystem::path(directory) / hex_of(hash_of(key));
  Rates rates{};
  if (read_rates(read_file(path), key, rates)) {
    return rates;
  }
  const std::optional<Rates> measured = Measurement(device).run();
  if (measured) {
    write_file(path, text_of(*measured, key));
  }
  return measured;
}

} // namespace

std::string rates_directory() {
  if (const char* chosen = std::getenv("NARROWS_CALIBRATION")) {
    return std::strcmp(chosen, "0") == 0 ? std::string() : std::string(chosen);
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) {
    return std::string(cache) + "/narrows/rates";
  }
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/narrows/rates" : std::string();
}

bool are_plausible(const Rates& rates) {
  const auto is_within = [](double number, double least, double most) {
    return number >= least && number <= most; // not NaN
  };
  return is_within(rates.bytes, 1e6, 1e15) && is_within(rates.flops, 1e6, 1e18) &&
         is_within(rates.launch, 1e-10, 1) && is_within(rates.copied_bytes, 1e5, 1e14);
}

std::string text_of(const Rates& rates, const std::string& key) {
  char numbers[160];
  std::snprintf(
      numbers,
      sizeof(numbers),
      "%.6e %.6e %.6e %.6e\n",
      rates.bytes,
      rates.flops,
      rates.launch,
      rates.copied_bytes);
  const std::string text = key + "\n" + numbers;
  return text + hex_of(hash_of(text)) + "\n";
}

bool read_rates(const std::string& text, const std::string& key, Rates& rates) {
  const size_t start = key.size() + 1;
  const size_t end = text.find('\n', std::min(start, text.size()));
  if (text.compare(0, start, key + "\n") != 0 || end == std::string::npos ||
      text.substr(end + 1) != hex_of(hash_of(text.substr(0, end + 1))) + "\n") {
    return false;
  }
  Rates found{};
  const int count = std::sscanf(
      text.c_str() + start,
      "%lf %lf %lf %lf",
      &found.bytes,
      &found.flops,
      &found.launch,
      &found.copied_bytes);
  if (count != 4 || !are_plausible(found)) {
    return false;
  }
  rates = found;
  return true;
}

Rates rates_of(Device device) {
  if (const Rates* measured = known_of(device).rates) {
    return *measured;
  }
  return device.type == Device::Type::gpu ? kUsualOfGpus : kUsualOfCpus;
}

void measure_rates_for_budget() {
  if (order_options().budget > 0) {
    measure_rates(default_device());
  }
}

void measure_rates(Device device) {
  Known& known = known_of(device);
  if (known.is_settled) {
    return;
  }
  std::lock_guard lock(known.mutex);
  if (known.is_settled) {
    return;
  }
  if (const std::optional<Rates> found = find_rates(device)) {
    known.rates = new Rates(*found); // for good
  }
  known.is_settled = true;
}

} // namespace narrows
