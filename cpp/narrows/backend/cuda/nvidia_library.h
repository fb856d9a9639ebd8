// Libraries of NVIDIA that are loaded at run time, where they are there.
#pragma once

#include "narrows/runtime/shared_library.h"

namespace narrows::cuda {

// The file that the environment variable names, if it is set; else one that the process has loaded
// already or the system finds; else one of the package that pip installs, which has it in a folder
// of `nvidia`.
SharedLibrary find_nvidia_library(
    const char* variable, const std::string& name, const std::string& folder);

} // namespace narrows::cuda
