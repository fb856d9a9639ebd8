#include "narrows/backend/metal/compiler.h"

#include <memory>

#include "narrows/backend/gpu/kernel_headers.h"
#include "narrows/core/errors.h"

namespace narrows::metal {

const void* MetalCompiler::compile(const std::string& text, const Program&) {
  const std::string source =
      gpu::with_headers(text, {gpu::kKernelHeaders, gpu::kKernelHeaderCount});
  auto pipeline =
      std::make_unique<const Device::Pipeline>(device_.compile(source, gpu::kTextKernel));
  // A kernel of many registers may have fewer threads. The interpreter takes its place.
  if (pipeline->most_threads < gpu::kMostRowThreads) {
    fail<std::runtime_error>(
        "[metal] a kernel would have ",
        pipeline->most_threads,
        " threads, expected ",
        gpu::kMostRowThreads);
  }
  return pipeline.release();
}

} // namespace narrows::metal
