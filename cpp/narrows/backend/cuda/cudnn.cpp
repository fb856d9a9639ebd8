#include "narrows/backend/cuda/cudnn.h"

#include "narrows/backend/cuda/nvidia_library.h"
#include "narrows/core/errors.h"

namespace narrows::cuda::cudnn {
namespace {

bool load(Library& library) {
  const SharedLibrary has = find_nvidia_library("NARROWS_CUDNN_LIBRARY", "libcudnn.so.9", "cudnn");
  return has.find(library.create, "cudnnCreate") &&
         has.find(library.set_stream, "cudnnSetStream") &&
         has.find(library.create_descriptor, "cudnnBackendCreateDescriptor") &&
         has.find(library.destroy_descriptor, "cudnnBackendDestroyDescriptor") &&
         has.find(library.finalize, "cudnnBackendFinalize") &&
         has.find(library.set_attribute, "cudnnBackendSetAttribute") &&
         has.find(library.get_attribute, "cudnnBackendGetAttribute") &&
         has.find(library.execute, "cudnnBackendExecute") &&
         has.find(library.error_text, "cudnnGetErrorString") &&
         library.create(&library.handle) == 0;
}

} // namespace

Library* library() {
  static Library* loaded = [] {
    auto* result = new Library; // never destroyed, like all that uses the device
    return load(*result) ? result : nullptr;
  }();
  return loaded;
}

void check(Status status) {
  if (status != 0) {
    throw Unsupported(library()->error_text(status));
  }
}

} // namespace narrows::cuda::cudnn
