#include "narrows/backend/null/backend.h"

#include <atomic>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace narrows {
namespace {

class NullMemory final : public MemorySource {
 public:
  // All blocks are at one address. Nothing is read there, and the host writes only scalars.
  void* allocate(int64_t) override {
    return scratch_;
  }
  void release(void*, int64_t) override {
  }
  bool host_visible() const override {
    return false;
  }
  int64_t capacity() const override {
    return INT64_MAX;
  }
  void read(const void*, void* to, int64_t bytes) override {
    std::memset(to, 0, static_cast<size_t>(bytes));
  }
  void write(const void*, void*, int64_t) override {
  }

 private:
  alignas(64) std::byte scratch_[64];
};

class NullEncoder final : public Encoder {
 public:
  void run(const KernelCall&) override {
  }
  void run_program(const ProgramCall& call) override {
    const std::string fault = find_fault(call.program);
    if (!fault.empty()) {
      fail<std::runtime_error>("[fused] ", fault, "\n", to_string(call.program));
    }
  }
  void record(const EventRef& event) override {
    event->set();
  }
  void wait(const EventRef&) override {
  }
};

std::atomic<int> null_concurrency{16};

// The same as the CPU's.
ProgramLimits null_program_limits{
    .instructions = 64,
    .operands = 24,
    .outputs = 8,
    .registers = 88,
    .row_bytes = int64_t{2} << 20};

class NullBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return memory_;
  }
  bool addresses(const MemorySource*) const override {
    return true;
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId&) const override {
    return true;
  }
  int concurrency() const override {
    return null_concurrency;
  }
  const ProgramLimits& program_limits() const override {
    return null_program_limits;
  }
  DeviceInfo info() const override {
    return {{"device_name", std::string("null")}};
  }

 private:
  NullMemory memory_;
  NullEncoder encoder_;
};

} // namespace

Backend* null_backend() {
  static NullBackend* backend = new NullBackend;
  return backend;
}

ProgramLimits set_null_program_limits(const ProgramLimits& limits) {
  return std::exchange(null_program_limits, limits);
}

int set_null_concurrency(int steps) {
  return null_concurrency.exchange(steps);
}

} // namespace narrows
