#include "narrows/backend/cuda/program_kernels.h"

#include <algorithm>
#include <memory>

#include "narrows/backend/cuda/batch.h"
#include "narrows/backend/cuda/device.h"
#include "narrows/backend/cuda/driver.h"
#include "narrows/backend/cuda/nvrtc.h"
#include "narrows/backend/gpu/kernel_cache.h"
#include "narrows/backend/gpu/kernel_headers.h"
#include "narrows/core/errors.h"

namespace narrows::cuda {
namespace {

metal_emu::Parameter parameter(int index, bool written) {
  metal_emu::Parameter result;
  result.kind = metal_emu::Kind::pointer;
  result.index = result.slot = index;
  result.size = 1;
  result.written = written;
  return result;
}

class NvrtcCompiler final : public gpu::KernelCompiler {
 public:
  gpu::Dialect dialect() const override {
    return gpu::Dialect::cuda;
  }

  bool load() override {
    if (!load_nvrtc()) {
      return false;
    }
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device_number()), "device_info");
    architecture_ = concat_message("sm_", properties.major, properties.minor);
    key_ = concat_message(architecture_, " nvrtc ", nvrtc_version(), "\n");
    for (size_t i = 0; i < gpu::kKernelHeaderCount; ++i) {
      key_ += gpu::kKernelHeaders[i].text;
    }
    return true;
  }

  const void* compile(const std::string& text, const Program& program) override {
    check(cudaSetDevice(device_number()), "device"); // the driver wants a thread to have a context
    auto kernel = std::make_unique<CompiledKernel>();
    const std::string key = key_ + text;
    std::optional<std::string> code = gpu::read_cached_kernel(key);
    if (!code || !load(*code, *kernel)) {
      code = compile_by_nvrtc(text, architecture_);
      if (!load(*code, *kernel)) {
        fail<std::runtime_error>("[cuda] the driver does not load what NVRTC compiled.");
      }
      gpu::write_cached_kernel(key, *code);
    }
    describe(program, kernel->info);
    return kernel.release();
  }

 private:
  static bool load(const std::string& code, CompiledKernel& kernel) {
    CUmodule module;
    return driver().load_module(&module, code.data()) == CUDA_SUCCESS &&
           driver().get_function(&kernel.function, module, gpu::kTextKernel) == CUDA_SUCCESS;
  }

  // As compat/signature.h describes kernels.
  static void describe(const Program& program, metal_emu::KernelInfo& info) {
    info.name = gpu::kTextKernel;
    int index = 0;
    for (const Program::Value& operand : program.operands) {
      if (operand.source == Program::Source::memory) {
        info.parameters.push_back(parameter(index++, false));
      }
    }
    for (size_t i = 0; i < program.outputs.size(); ++i) {
      info.parameters.push_back(parameter(index++, true));
    }
    info.parameters.push_back(parameter(index, false)); // of the parameters; see dispatch_text()
  }

  std::string architecture_;
  std::string key_; // what compiled code depends on besides the text
};

} // namespace

gpu::ProgramKernels& program_kernels() {
  static auto* kernels = new gpu::ProgramKernels(*new NvrtcCompiler); // never destroyed
  return *kernels;
}

} // namespace narrows::cuda
