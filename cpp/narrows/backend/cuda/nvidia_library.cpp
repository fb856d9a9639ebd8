#include "narrows/backend/cuda/nvidia_library.h"

namespace narrows::cuda {

SharedLibrary find_nvidia_library(
    const char* variable, const std::string& name, const std::string& folder) {
  const std::string here = directory_of(reinterpret_cast<const void*>(&find_nvidia_library));
  return find_library(
      {variable, {name}, {name, here + name, here + "../../nvidia/" + folder + "/lib/" + name}});
}

} // namespace narrows::cuda
