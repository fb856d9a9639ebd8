#include "narrows/backend/cpu/backend.h"

#include <array>
#include <fstream>

#include "narrows/backend/cpu/gemm.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/backend/cpu/memory.h"
#include "narrows/backend/cpu/program.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

// By KernelFamily; fill is Encoder::fill().
constexpr Kernel kKernels[] = {
    run_elementwise,
    run_select,
    run_cast,
    nullptr,
    run_arange,
    run_reduce,
    run_arg_reduce,
    run_scan,
    run_softmax,
    run_logsumexp,
    run_random_bits};

std::byte* address(const Operand& operand) {
  return static_cast<std::byte*>(operand.buffer->memory) + operand.offset;
}

constexpr size_t kMostOperands = 8;

GemmShape shape_of(const GemmCall& call) {
  return {call.m, call.n, call.k, call.transpose_a, call.transpose_b, call.lda, call.ldb, call.ldc};
}

// Runs everything at once, so it has no state and serves all streams.
class CpuEncoder final : public Encoder {
 public:
  void launch(
      const KernelId& kernel,
      std::span<const Operand> operands,
      std::span<const std::byte> params,
      Grid) override {
    std::array<void*, kMostOperands> addresses;
    for (size_t i = 0; i < operands.size(); ++i) {
      addresses[i] = address(operands[i]);
    }
    kKernels[static_cast<size_t>(kernel.family)](kernel, addresses.data(), params.data());
  }
  void fill(Operand out, std::span<const std::byte> pattern, int64_t count) override {
    if (count > 0) {
      run_fill(address(out), pattern.data(), static_cast<int64_t>(pattern.size()), count);
    }
  }
  void copy(Operand from, Operand to, int64_t bytes) override {
    copy_bytes(address(from), address(to), bytes);
  }
  void gemm(const GemmCall& call) override {
    gemm_batched(
        call.dtype,
        shape_of(call),
        call.alpha,
        address(call.a),
        call.a_offsets.data(),
        address(call.b),
        call.b_offsets.data(),
        call.beta,
        address(call.c),
        call.c_offsets.data(),
        call.batch,
        call.workspace.buffer ? address(call.workspace) : nullptr);
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
  int64_t gemm_workspace(const GemmCall& call) const override {
    return gemm_batched_workspace(call.dtype, shape_of(call), call.batch, call.alpha, call.beta);
  }
  bool runs_programs() const override {
    return true;
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

Backend* cpu_backend() {
  static CpuBackend* backend = new CpuBackend;
  return backend;
}

} // namespace narrows::cpu
