#include "narrows/backend/cpu/backend.h"

#include <array>
#include <fstream>

#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/memory.h"
#include "narrows/backend/cpu/program.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

std::byte* address(const Operand& operand) {
  return static_cast<std::byte*>(operand.buffer->memory) + operand.offset;
}

// Work runs at once, so the encoder has no state and serves all streams.
class CpuEncoder final : public Encoder {
 public:
  void run(const KernelCall& call) override {
    std::array<void*, kMostOperands> addresses;
    for (size_t i = 0; i < call.operands.size(); ++i) {
      addresses[i] = address(call.operands[i]);
    }
    void* scratch = call.scratch.buffer ? address(call.scratch) : nullptr;
    cpu::run(call.kernel, addresses.data(), call.params.data(), scratch);
  }
  void run_program(const ProgramCall& call) override {
    cpu::run_program(call);
  }
  void record(const EventRef& event) override {
    event->set();
  }
  void wait(const EventRef& event) override {
    event->wait();
  }
};

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "cpu";
}

class CpuBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return host_memory();
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return has_kernel(kernel);
  }
  Scratch scratch(KernelFamily family) const override {
    return row_of(family).scratch;
  }
  const ProgramLimits& program_limits() const override {
    return kProgramLimits;
  }
  DeviceInfo info() const override {
    return {
        {"architecture",
#if defined(__x86_64__)
         std::string("x86_64")
#elif defined(__aarch64__)
         std::string("arm64")
#else
         std::string("unknown")
#endif
        },
        {"device_name", processor_name()},
        {"memory_size", machine_memory()},
        {"threads", static_cast<int64_t>(thread_count())}};
  }

 private:
  CpuEncoder encoder_;
};

} // namespace

const Row& row_of(KernelFamily family) {
  static constexpr const Row* kRows[] = {
#define FAMILY(name, Params, inputs, outputs, gpu) &name##_row,
#include "metal_kernels/families.def"
  };
  return *kRows[static_cast<size_t>(family)];
}

Backend* cpu_backend() {
  static CpuBackend* backend = new CpuBackend;
  return backend;
}

} // namespace narrows::cpu
