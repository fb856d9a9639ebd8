// The text of a program's own kernel. It calls the functors that all kernels call.
#pragma once

#include <string>

#include "narrows/backend/gpu/program_layout.h"

namespace narrows::gpu {

enum class Dialect { metal, cuda };

// The kernel's name in the text.
inline constexpr const char* kTextKernel = "fused";

// The text of the kernel, which takes what dispatch_text() says.
std::string text_of(const Program& program, const ProgramLayout& layout, Dialect dialect);

} // namespace narrows::gpu
