// Whether evaluations fuse, for the process and for a scope.
#pragma once

#include <cstdint>

namespace narrows {

// Whether evaluations of this thread fuse: as its innermost scope says, else as the process says,
// else as NARROWS_FUSION says (0: no), else yes.
bool fusion_enabled();

// Sets it for the process. Returns the previous value.
bool set_fusion(bool on);

// Sets it for this thread while it lives.
class FusionScope {
 public:
  explicit FusionScope(bool on);
  ~FusionScope();
  FusionScope(const FusionScope&) = delete;
  FusionScope& operator=(const FusionScope&) = delete;

 private:
  int8_t previous_;
};

} // namespace narrows
