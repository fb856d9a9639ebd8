// NVRTC, which compiles texts of kernels. It is loaded at run time.
#pragma once

#include <string>

namespace narrows::cuda {

// False if the library is not found.
bool load_nvrtc();

// "13.0": other versions may make other code of a text.
std::string nvrtc_version();

// Machine code for an architecture such as "sm_90". RuntimeError, with what the compiler said, if
// the text has errors.
std::string compile_by_nvrtc(const std::string& text, const std::string& architecture);

} // namespace narrows::cuda
